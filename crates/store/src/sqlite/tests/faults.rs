//! What SQLite itself refuses in the middle: a statement, a commit. Its own hooks say so, and the error takes the
//! way it takes from a disk.

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use super::*;
use crate::{
    Artifact, Upload,
    conformance::sample::{claim, id},
};

#[tokio::test]
async fn a_batch_that_not_even_a_savepoint_saves_is_refused_and_the_next_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let deny = |context: AuthContext<'_>| match context.action {
        AuthAction::Insert { table_name: "claim" } | AuthAction::Savepoint { .. } => Authorization::Deny,
        _ => Authorization::Allow,
    };
    store.writer.work(move |desk| Ok(desk.connection.authorizer(Some(deny))?)).await.unwrap();
    let claims = crate::Change { claim: Some(claim("key", 1)), ..create(&generation("a"), row("t", State::Queued)) };
    let refused = store.commit(vec![claims]).await;
    assert!(matches!(&refused[..], [Err(CommitError::Unavailable(why))] if why.contains("authoriz")), "{refused:?}");
    let written = store.commit(vec![create(&generation("b"), row("t", State::Queued))]).await;
    assert_eq!(written, [Ok(Committed::New { last: Sequence(1) })]);
}

#[tokio::test]
async fn a_sweep_that_was_not_committed_tells_of_its_blobs_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let a = generation("a");
    assert!(store.commit(vec![create(&a, row("t", State::Running))]).await[0].is_ok());
    for blob in ["replaced", "kept"] {
        let artifact = Artifact { name: id("film.mp4"), size: 1, sha256: blob.into(), at: Timestamp(7) };
        assert_eq!(store.put_artifact(&a, artifact).await, Ok(()));
    }
    // The first commit is that of the job which sets this, the second that of the sweep.
    let mut commits = 0;
    let refuse_second = move || {
        commits += 1;
        commits == 2
    };
    store.writer.work(move |desk| Ok(desk.connection.commit_hook(Some(refuse_second))?)).await.unwrap();
    let failed = store.sweep(None, None, 10).await;
    assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
    assert_eq!(store.sweep(None, None, 10).await.unwrap().blobs, ["replaced"]);
    store.forget_blobs(vec!["replaced".into()]).await.unwrap();
    assert_eq!(store.sweep(None, None, 10).await.unwrap().blobs, Vec::<String>::new());
}

#[tokio::test]
async fn an_upload_stays_for_work_that_took_the_number_of_what_was_deleted_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let file = id("upl_1");
    let upload = Upload {
        file: id("upl_1"),
        owner: id("ann"),
        tenant: id("t"),
        size: 1,
        sha256: "blob".into(),
        at: Timestamp(1),
    };
    assert_eq!(store.put_upload(upload).await, Ok(()));
    let old = [generation("a"), generation("b")];
    let ended = old.iter().map(|old| create(old, row("t", State::Complete)));
    assert!(store.commit(ended.collect()).await.iter().all(Result::is_ok));

    let unused = store.readers.read(|connection| super::super::uploads::unused(connection, Timestamp(50), 10));
    let unused = unused.await.unwrap();
    assert_eq!(unused.files, ["upl_1"]);
    for old in &old {
        assert!(store.delete(old).await.unwrap().is_some());
    }
    let mut names = row("t", State::Queued);
    names.snapshot = br#"{"image":"upl_1"}"#.to_vec();
    assert!(store.commit(vec![create(&generation("c"), names)]).await[0].is_ok());
    let removed = store.writer.work(move |desk| Ok(super::super::uploads::remove(&desk.connection, &unused)?)).await;
    assert_eq!(removed, Ok(0));
    assert!(store.upload(&file).await.unwrap().is_some());
}
