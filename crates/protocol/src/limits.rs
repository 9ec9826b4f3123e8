//! Every bound with its reason. What happens when one is reached is written where it is enforced, and tested there.

/// Longest id or name, in bytes: a UUID with a prefix fits three times, a path does not.
pub const ID_BYTES_MAX: usize = 128;
/// Longest id of an event, in bytes: its command's, a dot, and seven digits.
pub const EVENT_ID_BYTES_MAX: usize = ID_BYTES_MAX + 8;
/// Deepest JSON that clients and workers may bring: readers give up at 128 levels, and messages wrap it in a few more.
pub const JSON_DEPTH_MAX: usize = 64;

/// Longest lease id, in bytes: a fence, 26 random characters and the longest generation id.
pub const LEASE_ID_BYTES_MAX: usize = 256;

/// Longest prompt, in characters: ten times the longest that image models read.
pub const PROMPT_CHARS_MAX: usize = 4_000;
/// Largest `input` object, in bytes of JSON: parameters, not media; media go through uploads.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;
/// Largest JSON body of any request: `input` twice over, for escapes and the fields beside it.
pub const BODY_BYTES_MAX: usize = 128 * 1024;
/// Largest `metadata` of one event or submission, in bytes of JSON: it is repeated to each watcher.
pub const METADATA_BYTES_MAX: usize = 8 * 1024;
/// Longest `message` of an event, in bytes: a line under a progress bar.
pub const MESSAGE_BYTES_MAX: usize = 1024;
/// Longest `Idempotency-Key`, in bytes: the draft standard's examples are UUIDs.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Largest artifact or upload, in bytes: ten minutes of 4K at 50 Mbit/s.
pub const ARTIFACT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Most bytes of uploads kept for one owner: four of the largest, or a photograph of 3 MB every two minutes of a week.
pub const UPLOAD_BYTES_PER_OWNER_MAX: u64 = 4 * ARTIFACT_BYTES_MAX;
/// Bytes an upload counts for at least: their number is bounded too, as each costs a file, a row and a look at it.
pub const UPLOAD_BYTES_COUNTED_MIN: u64 = 64 * 1024;
/// Most uploads of one owner under way at once: five times what a browser sends to one host over HTTP/1.
pub const UPLOADS_UNDER_WAY_MAX: usize = 32;
/// Most artifacts of one generation: a film, its thumbnail, kept inputs of every stage, with room.
pub const ARTIFACTS_MAX: usize = 64;

/// Most durable events of one generation: two hours of progress at ten a second come to 72,000; beyond it progress is dropped, edges are not.
pub const EVENTS_PER_GENERATION_MAX: u64 = 100_000;
/// Most events a page holds: 256 events are about 100 KB, two reads of the log's cache.
pub const PAGE_EVENTS_MAX: usize = 256;
/// Most generations a list page holds: 200 snapshots without files are about 200 KB.
pub const PAGE_GENERATIONS_MAX: usize = 200;

/// Most events a tail keeps in memory per generation; older ones are read from the log.
pub const TAIL_EVENTS_MAX: usize = 256;
/// Most bytes of events a tail keeps in memory per generation: 256 events of 1 KB, as a page holds.
pub const TAIL_EVENTS_BYTES_MAX: usize = 256 * 1024;
/// Most preview frames a tail keeps: the player starts at 5 to 10.
pub const TAIL_FRAMES_MAX: usize = 16;
/// Most bytes of preview frames a tail keeps: 16 frames of 480p with room, or four of the largest.
pub const TAIL_FRAMES_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes gathered into one write: the socket buffer of a default Linux.
pub const GATHER_BYTES_MAX: usize = 64 * 1024;

/// Largest preview picture with its header: a 480p WebP is 20 to 40 KB.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;

/// Largest client message before it authenticated, in bytes: provider tokens pass 1 KB, so the first dialect's limit cannot hold here.
pub const MESSAGE_BYTES_BEFORE_AUTHENTICATION_MAX: usize = 8 * 1024;
/// Largest client message after authentication on `/ws` and `/`, in bytes: the first dialect's own limit.
pub const MESSAGE_BYTES_FIRST_DIALECT_MAX: usize = 1024;
/// Largest client message after authentication on `/v1/live`, in bytes: a prompt of 4,000 characters with its parameters.
pub const MESSAGE_BYTES_LIVE_MAX: usize = 32 * 1024;
/// Largest text message of a worker, in bytes: a checkpoint's data and a registered pipeline fit.
pub const MESSAGE_BYTES_WORKER_MAX: usize = 512 * 1024;
/// Largest inline checkpoint, in bytes of JSON; larger ones are artifacts.
pub const CHECKPOINT_BYTES_MAX: usize = 64 * 1024;

/// A socket that has not authenticated by then is told so and closed with 4001, in milliseconds: the first dialect's own.
pub const AUTHENTICATION_TIMEOUT_MS: u64 = 10_000;
/// Between two server pings, in milliseconds: the first dialect's own, and below the idle timeouts of common proxies.
pub const PING_INTERVAL_MS: u64 = 30_000;
/// Subscriptions and unsubscriptions per minute and connection; beyond it an `error` answers.
pub const SUBSCRIBES_PER_MINUTE: u32 = 300;
/// Subscriptions and unsubscriptions a connection may make at once: a screen of sixty tiles that leaves, and the next one that comes.
pub const SUBSCRIBES_BURST: u32 = 120;
/// Most subscriptions one connection holds: eight pages of 64 tiles, scrolled through without unsubscribing.
pub const SUBSCRIPTIONS_PER_CONNECTION_MAX: usize = 512;
/// Connections of one user let in at once, and as many a minute; more wait a little: a person with forty tabs, six reloads each.
pub const CONNECTS_PER_MINUTE: usize = 240;
/// Longest `Prefer: wait`, in seconds: below the idle timeouts of common proxies (30 s and up).
pub const LONG_POLL_WAIT_MAX_S: u64 = 25;
/// Between two comment lines on a silent SSE stream, in milliseconds: half the shortest idle timeout of common proxies.
pub const SSE_KEEP_ALIVE_MS: u64 = 15_000;
/// A watcher whose socket takes nothing for so long is disconnected, in milliseconds: longer than a tunnel or a change of network.
pub const WATCHER_STALL_MAX_MS: u64 = 60_000;

/// An external producer silent for so long has failed, in milliseconds: five times what a stage may stand still unless its pipeline says otherwise.
pub const EXTERNAL_STALL_MS: u64 = 600_000;

/// Between two worker heartbeats, in milliseconds: two may be lost within the capacity window.
pub const HEARTBEAT_MS: u64 = 2_000;
/// A worker silent for so long gets no offers, in milliseconds: two and a half heartbeats, so that two may be lost.
pub const CAPACITY_WINDOW_MS: u64 = 5_000;
/// A lease silent for so long is lost, in milliseconds: 15 heartbeats, longer than a garbage collection or a model that loads.
pub const LEASE_SILENCE_MAX_MS: u64 = 30_000;
/// A lease whose worker's socket closed is lost after so long, in milliseconds: a living worker is back within a second or two.
pub const LEASE_AFTER_CLOSE_MS: u64 = 10_000;
/// An offer that is neither accepted nor declined by then is withdrawn, in milliseconds: as long as a silent worker counts as able.
pub const OFFER_TIMEOUT_MS: u64 = 5_000;
/// A run whose inputs are in one worker's memory is offered only to it for so long, in milliseconds: one heartbeat.
pub const AFFINITY_MS: u64 = 2_000;
/// A worker that was told to cancel has so long before its lease is revoked, in milliseconds: a few steps of a model.
pub const CANCEL_GRACE_MS: u64 = 10_000;
/// Offers a worker may get between two heartbeats: a machine of ten slots is filled within one.
pub const TOKENS_MAX: u32 = 10;
/// Most slots a worker may claim in one pool: more than the cores of one machine that runs a stage on each.
pub const SLOTS_MAX: u32 = 256;
/// Progress of one lease is written at most so often, in milliseconds; what comes between replaces what waits.
pub const PROGRESS_INTERVAL_MS: u64 = 100;
/// First wait before a retry, in milliseconds; it doubles, with full jitter.
pub const RETRY_BASE_MS: u64 = 200;
/// Longest wait before a retry, in milliseconds: beyond a minute people take it for stuck.
pub const RETRY_DELAY_MAX_MS: u64 = 60_000;
/// Retries of a stage after its first attempt: four tries tell a hiccup from a fault, and their waits come to little more than a second.
pub const RETRIES_DEFAULT: u32 = 3;
/// Most retries a stage may ask for: with a minute between them a hundred are longer than the longest stage.
pub const RETRIES_MAX: u32 = 100;
/// Longest bound a pipeline may set on anything, in milliseconds: a week; what takes longer is not watched by anybody.
pub const PIPELINE_BOUND_MAX_MS: u64 = 7 * 86_400_000;
/// A clean-up that has not ended by then is given up, in milliseconds: an hour, so that no missing worker keeps a generation open.
pub const CLEAN_UP_MAX_MS: u64 = 3_600_000;
/// Failures in a row that open a breaker: one more than the tries of one stage, so that a single generation does not open it.
pub const BREAKER_FAILURES: u32 = 5;
/// An open breaker lets a probe through after so long, in milliseconds: a service that restarts is back by then.
pub const BREAKER_OPEN_MS: u64 = 30_000;
/// Most stages of a pipeline: six times the default one; a bar with more parts says nothing.
pub const STAGES_MAX: usize = 32;
/// A finished generation leaves memory after so long, in milliseconds: whoever waited for it has looked by then.
pub const FINISHED_IN_MEMORY_MS: u64 = 600_000;

/// Most changes in one transaction of the embedded store: beyond it the fsync is no longer what costs.
pub const BATCH_CHANGES_MAX: usize = 256;
/// Most bytes of events in one transaction of the embedded store: written in less time than the fsync takes.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Most changes waiting to be given to the store, and most calls waiting for its writer; beyond it callers wait.
pub const COMMIT_QUEUE_MAX: usize = 4_096;
/// Most unfinished generations of one tenant, so that one customer cannot fill the memory of the queue.
pub const UNFINISHED_PER_TENANT_MAX: usize = 100_000;
/// Most unfinished generations of one owner, so that one user cannot fill the queue.
pub const UNFINISHED_PER_OWNER_MAX: usize = 1_000;
