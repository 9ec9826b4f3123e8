//! The eyes: draws a real film from words, on a CPU, without a model.
//!
//! A procedural renderer that knows some words and understands no prompt: words choose a scene, chance the rest.
//! Owns the way from a [`Request`] to an MP4, stage by stage ([`analyse`], [`generate`], [`interpolate`], [`upscale`],
//! [`encode`]; [`film`] runs them all). Leaves the network, events, leases and retries to the worker that calls it: there
//! is no async and no protocol type here. A [`Sink`] hears what happens, says who looks, and stops it.

mod colour;
mod error;
mod ffmpeg;
mod film;
mod frame;
pub mod fuzz;
#[cfg(feature = "h264")]
mod h264;
pub mod kept;
mod lanes;
mod motion;
mod noise;
mod paint;
mod pool;
mod prompt;
mod request;
mod resize;
pub mod scene;
mod simd;
mod sink;
mod thumbnail;
mod webp;
#[cfg(feature = "worker")]
pub mod worker;

pub use error::Error;
pub use film::{Film, Folder, REVISION_LAST, analyse, check_encoder, encode, film, generate, interpolate, upscale};
pub use frame::Frame;
pub use motion::between;
pub use request::{
    BadRequest, DRAW_PIXELS_MAX, Encoder, FILM_PIXELS_MAX, FPS_MAX, PROMPT_CHARS_MAX, Plan, Request, SECONDS_MAX,
    SECONDS_MIN, SHAPE_MAX, SIDE_MAX, SIDE_MIN, Size, THREADS_MAX,
};
pub use scene::Scene;
pub use sink::{Detail, Preview, PreviewDemand, Sink, Stage};
