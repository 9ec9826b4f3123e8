//! The client's `input` as a request. Which values are in range is the request's own business; here only their kinds are.

use sdk::{Failure, Offer, protocol::Metadata};
use serde_json::Value;

use crate::{Encoder, Request, Size, prompt};

/// Reads what was asked for. A seed that nobody gave follows from the generation, so that every attempt draws the same.
pub(super) fn request(offer: &Offer, threads: usize) -> Result<Request, Failure> {
    let input = &offer.inputs.input;
    let prompt = input.get("prompt").and_then(Value::as_str).unwrap_or_default();
    if input.contains_key("image") {
        return Err(Failure::invalid_input("this renderer draws from words alone: leave `image` out"));
    }
    let mut request = Request::new(prompt).sized(size(input)?);
    request.threads = threads;
    request.seed = match number(input, "seed")? {
        Some(seed) => seed,
        None => prompt::hash(offer.generation.as_str()),
    };
    if let Some(fps) = side(input, "fps")? {
        request.fps = fps;
    }
    if let Some(seconds) = input.get("seconds") {
        request.seconds = seconds.as_f64().ok_or_else(|| wrong("seconds", seconds))?;
    }
    if let Some(name) = input.get("encoder") {
        request.encoder = encoder(name)?;
    }
    Ok(request)
}

/// What makes the film. A pipeline whose schema has no `encoder` refuses it before a worker sees it.
fn encoder(value: &Value) -> Result<Encoder, Failure> {
    value.as_str().and_then(Encoder::named).ok_or_else(|| {
        let known = Encoder::ALL.map(Encoder::name).join(", ");
        Failure::invalid_input(format!("encoder = {value} is not known: use one of {known}"))
    })
}

/// One side alone keeps the usual shape.
fn size(input: &Metadata) -> Result<Size, Failure> {
    let usual = Size::P480;
    let scaled = |side: u32, of: u32, to: u32| {
        u32::try_from(u64::from(side) * u64::from(of) / u64::from(to)).unwrap_or(u32::MAX)
    };
    Ok(match (side(input, "width")?, side(input, "height")?) {
        (Some(width), Some(height)) => Size::new(width, height),
        (Some(width), None) => Size::new(width, scaled(width, usual.height, usual.width)),
        (None, Some(height)) => Size::new(scaled(height, usual.width, usual.height), height),
        (None, None) => usual,
    })
}

fn side(input: &Metadata, key: &str) -> Result<Option<u32>, Failure> {
    // Absurd values stay absurd, for the request to name their bounds.
    Ok(number(input, key)?.map(|number| u32::try_from(number).unwrap_or(u32::MAX)))
}

fn number(input: &Metadata, key: &str) -> Result<Option<u64>, Failure> {
    let Some(value) = input.get(key) else { return Ok(None) };
    // JSON knows no whole numbers: 24.0 is one too.
    let whole = value.as_f64().filter(|number| number.fract() == 0.0 && *number >= 0.0);
    value.as_u64().or_else(|| whole.map(|number| number as u64)).map(Some).ok_or_else(|| wrong(key, value))
}

fn wrong(key: &str, value: &Value) -> Failure {
    Failure::invalid_input(format!("{key} = {value} is not a number this renderer can use"))
}
