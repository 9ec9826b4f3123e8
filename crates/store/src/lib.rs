//! The memory: the durable event log, the generations and the queue.
