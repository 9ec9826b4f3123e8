//! A few read-only connections and the rule who may use one. Statements are in `read`.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::StoreError;

/// Read connections. As many reads run as there are connections; further callers wait in the order they came.
pub(super) struct Readers {
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
    count: u32,
}

/// A connection on loan. It goes back when this is dropped, whatever happened.
struct Loan {
    connection: Option<Connection>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.idle.lock().extend(self.connection.take());
    }
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        let count = u32::try_from(connections.len()).expect("a handful of connections");
        Self { permits: Arc::new(Semaphore::new(connections.len())), idle: Arc::new(Mutex::new(connections)), count }
    }

    /// Runs one short read on a blocking thread.
    ///
    /// # Cancel safety
    /// A dropped call lets the read finish and gives its connection back.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Unavailable("the store is closed".into());
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| closed())?;
        let connection = self.idle.lock().pop().ok_or_else(closed)?;
        let loan = Loan { connection: Some(connection), idle: Arc::clone(&self.idle) };
        let read = tokio::task::spawn_blocking(move || {
            let done = job(loan.connection.as_ref().expect("taken only when dropped"));
            // The connection first: whoever gets the permit must find it.
            drop(loan);
            drop(permit);
            done
        });
        match read.await {
            Ok(done) => Ok(done?),
            Err(error) => Err(StoreError::Unavailable(error.to_string())),
        }
    }

    /// Waits for the reads under way and closes the connections.
    pub(super) async fn close(&self) {
        if let Ok(_all) = self.permits.acquire_many(self.count).await {
            self.permits.close();
            self.idle.lock().clear();
        }
    }
}
