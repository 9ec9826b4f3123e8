//! What SQLite itself refuses in the middle: a statement, a commit, a sync. Its own hooks say so, and the error takes the
//! way it takes from a disk.

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use super::*;
use crate::conformance::sample::claim;

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
