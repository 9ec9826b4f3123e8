//! What SQLite itself refuses in the middle: a statement, a commit, a sync. Its own hooks say so, and the error takes the
//! way it takes from a disk.

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use super::*;
use crate::{
    Artifact,
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
    assert_eq!(store.sweep(None, None, 10).await.unwrap().blobs, Vec::<String>::new());
}
