//! H.264 in a fast-start MP4. Owns the encoder's settings; leaves reading and threading to `film`.

use muxide::api::{Muxer, MuxerBuilder, VideoCodec};
use openh264::OpenH264API;
use openh264::encoder::{
    Encoder, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, RateControlMode, UsageType, VuiConfig,
};
use openh264::formats::YUVSlices;

use crate::error::Error;
use crate::film::KEY_SECONDS;
use crate::frame::Frame;
use crate::request::Size;

fn refuse(encoder: &'static str, reason: impl std::fmt::Display) -> Error {
    Error::Encoder { encoder, reason: reason.to_string() }
}

/// Compresses pictures one after another.
pub(crate) struct Compressor {
    encoder: Encoder,
}

/// One compressed picture in Annex B form.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    pub(crate) key: bool,
}

impl Compressor {
    /// Threads are not used: slices cost quality, and the reader runs beside the encoder anyway.
    pub(crate) fn new(fps: u32) -> Result<Self, Error> {
        let config = EncoderConfig::new()
            .usage_type(UsageType::CameraVideoRealTime)
            // Off is constant quality at QP 26: 42 to 43 dB on drawn scenes, and no target to starve a busy picture.
            .rate_control_mode(RateControlMode::Off)
            .skip_frames(false)
            .max_frame_rate(FrameRate::from_hz(fps as f32))
            .intra_frame_period(IntraFramePeriod::from_num_frames(fps * KEY_SECONDS))
            .scene_change_detect(false)
            .adaptive_quantization(false)
            .background_detection(false)
            .num_threads(1)
            .vui(VuiConfig::bt709());
        let api = OpenH264API::from_source();
        let encoder = Encoder::with_api_config(api, config).map_err(|err| refuse("h264", err))?;
        Ok(Self { encoder })
    }

    pub(crate) fn push(&mut self, frame: &Frame) -> Result<Chunk, Error> {
        let (width, height) = (frame.size.width as usize, frame.size.height as usize);
        let source = YUVSlices::new((&frame.y, &frame.u, &frame.v), (width, height), (width, width / 2, width / 2));
        let stream = self.encoder.encode(&source).map_err(|err| refuse("h264", err))?;
        let key = matches!(stream.frame_type(), FrameType::IDR | FrameType::I);
        Ok(Chunk { bytes: stream.to_vec(), key })
    }
}

/// Collects compressed pictures into a film that plays while it loads. Holds the film in memory: the index comes first.
pub(crate) struct Reel {
    muxer: Muxer<Vec<u8>>,
    fps: f64,
    count: u32,
}

impl Reel {
    pub(crate) fn new(size: Size, fps: u32) -> Result<Self, Error> {
        let fps = f64::from(fps);
        let muxer = MuxerBuilder::new(Vec::new())
            .video(VideoCodec::H264, size.width, size.height, fps)
            .with_fast_start(true)
            .build()
            .map_err(|err| refuse("mp4", err))?;
        Ok(Self { muxer, fps, count: 0 })
    }

    pub(crate) fn push(&mut self, chunk: &Chunk) -> Result<(), Error> {
        let at = f64::from(self.count) / self.fps;
        self.count += 1;
        self.muxer.write_video(at, &chunk.bytes, chunk.key).map_err(|err| refuse("mp4", err))
    }

    pub(crate) fn finish(mut self) -> Result<Vec<u8>, Error> {
        self.muxer.finish_in_place().map_err(|err| refuse("mp4", err))?;
        Ok(self.muxer.into_writer())
    }
}
