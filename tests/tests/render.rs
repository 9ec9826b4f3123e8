//! `rushes render` as a person or a script starts it: what it shows, what it makes, what it refuses.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use rushes_tests::{
    PATIENCE, clients,
    program::{Ended, program, run},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// A folder and a film in it.
struct Place(TempDir);

impl Place {
    fn new() -> Result<Self> {
        Ok(Self(TempDir::new()?))
    }

    fn film(&self) -> PathBuf {
        self.0.path().join("film.mp4")
    }

    /// `rushes render` with these words after what a small film needs.
    async fn render(&self, words: &[&str]) -> Result<Ended> {
        let film = self.film();
        let mut all = vec!["render", "-o", film.to_str().context("a path in UTF-8")?];
        all.extend(words);
        run(&all, &[]).await
    }

    fn is_empty(&self) -> Result<bool> {
        Ok(fs::read_dir(self.0.path())?.next().is_none())
    }
}

/// Says what this machine could not show, where nothing holds it back.
fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "\nSKIPPED: {reason}");
}

/// The facts of a film, as ffprobe tells them; `None` where it is not installed.
fn probe(film: &Path) -> Result<Option<String>> {
    let entries = "stream=codec_name,width,height,pix_fmt,color_range,color_space,color_transfer,color_primaries,r_frame_rate,nb_read_frames";
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-show_entries", entries, "-of", "default=noprint_wrappers=1"])
        .arg(film)
        .output();
    let Ok(output) = output else {
        skip("no ffprobe; what it says of a film of `rushes render` was not looked at");
        return Ok(None);
    };
    ensure!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(Some(String::from_utf8(output.stdout)?))
}

fn boxes(mp4: &[u8]) -> Result<Vec<String>> {
    let (mut at, mut names) = (0, Vec::new());
    while at < mp4.len() {
        let head = mp4.get(at..at + 8).context("a box is cut off")?;
        names.push(String::from_utf8_lossy(&head[4..]).into_owned());
        at += (u32::from_be_bytes(head[..4].try_into()?) as usize).max(8);
    }
    Ok(names)
}

#[tokio::test]
async fn a_script_gets_lines_that_count_to_a_hundred_and_a_film_that_is_told_as_it_is() -> Result<()> {
    let place = Place::new()?;
    let film = place.film();
    let output = tokio::process::Command::new(program())
        .args(["render", "storm at sea", "--seconds", "1", "--size", "320x180", "--seed", "3", "-o"])
        .arg(&film)
        .output()
        .await?;
    let (lines, notes) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    assert!(output.status.success(), "{notes}");
    let percents: Vec<u32> = lines
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.splitn(6, ' ').collect();
            ensure!(words.len() == 6 && words[1..3] == ["-", "running"] && words[0].ends_with('Z'), "{line}");
            Ok(words[4].strip_suffix('%').context("a percentage")?.parse()?)
        })
        .collect::<Result<_>>()?;
    assert!(percents.is_sorted() && percents.first() == Some(&0), "{lines}");
    assert_eq!(percents.iter().filter(|percent| **percent == 100).count(), 1, "whole once, at the end: {lines}");
    for stage in ["prompt_analysis", "generating_frames", "interpolating", "upscaling", "encoding"] {
        assert!(lines.contains(&format!(" - running {stage} ")), "{stage} is missing in {lines}");
    }
    assert!(!lines.contains('\r') && !lines.contains('\u{1b}'), "a pipe gets no bar: {lines}");
    assert!(
        notes.contains("scene: kind sea") && notes.contains("film.mp4") && notes.contains("24 pictures"),
        "{notes}"
    );

    assert_eq!(boxes(&fs::read(&film)?)?, ["ftyp", "moov", "mdat"], "it plays while it loads");
    let Some(facts) = probe(&film)? else { return Ok(()) };
    for fact in [
        "codec_name=h264",
        "width=320",
        "height=180",
        "pix_fmt=yuv420p",
        "color_range=tv",
        "color_space=bt709",
        "color_transfer=bt709",
        "color_primaries=bt709",
        "r_frame_rate=24/1",
        "nb_read_frames=24",
    ] {
        assert!(facts.lines().any(|told| told == fact), "{fact} is missing in\n{facts}");
    }
    Ok(())
}

#[tokio::test]
async fn a_terminal_gets_a_bar_and_what_was_made() -> Result<()> {
    let place = Place::new()?;
    let film = place.film();
    let typed = format!(
        "stty cols 80 rows 24; exec '{}' render 'rainy tokyo' --seconds 1 --size 256x144 -o '{}'",
        program().display(),
        film.display()
    );
    // A pseudo-terminal, whatever runs the tests.
    let output =
        tokio::process::Command::new("script").args(["-qec", &typed, "/dev/null"]).stdin(Stdio::null()).output();
    let Ok(output) = tokio::time::timeout(PATIENCE, output).await? else {
        skip("no `script`; the bar of `rushes render` was not looked at");
        return Ok(());
    };
    let seen = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{seen}");
    assert!(seen.contains("[=") && seen.contains("Generating frames (") && seen.contains("scene: kind city"), "{seen}");
    assert!(!seen.contains(" - running "), "lines are for pipes: {seen}");
    let last = seen.trim_end().lines().next_back().context("a line")?;
    assert!(last.contains("film.mp4 (") && last.contains("24 pictures)"), "{last}");
    assert!(film.is_file());
    Ok(())
}

#[tokio::test]
async fn every_option_does_what_it_says_and_a_seed_gives_the_same_film_again() -> Result<()> {
    let place = Place::new()?;
    let (frames, thumbnail) = (place.0.path().join("frames"), place.0.path().join("thumbnail.webp"));
    let (frames_text, thumbnail_text) = (frames.to_str().context("UTF-8")?, thumbnail.to_str().context("UTF-8")?);
    let words = ["purple cat", "--seconds", "0.5", "--size", "97x161", "--fps", "12", "--seed", "18446744073709551615"];
    let ended = place.render(&[&words[..], &["--frames", frames_text, "--thumbnail", thumbnail_text]].concat()).await?;
    assert_eq!(ended.code, 0, "{}", ended.said);
    let mut pictures: Vec<String> = fs::read_dir(&frames)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    pictures.sort();
    assert_eq!(pictures, (1..=6).map(|number| format!("frame-{number:04}.webp")).collect::<Vec<_>>());
    for picture in pictures.iter().map(|name| frames.join(name)).chain([thumbnail]) {
        assert_eq!(&fs::read(&picture)?[8..12], b"WEBP", "{}", picture.display());
    }
    if let Some(facts) = probe(&place.film())? {
        for fact in ["width=98", "height=162", "r_frame_rate=12/1", "nb_read_frames=6"] {
            assert!(facts.lines().any(|told| told == fact), "{fact} is missing in\n{facts}");
        }
    }
    let first = fs::read(place.film())?;
    assert_eq!(place.render(&words).await?.code, 0);
    assert!(first == fs::read(place.film())?, "the same words and seed gave another film");
    let other = [&words[..8], &["1"]].concat();
    assert_eq!(place.render(&other).await?.code, 0);
    assert!(first != fs::read(place.film())?, "another seed gave the same film");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_made_is_refused_by_name_with_what_to_change_before_anything_is_written() -> Result<()> {
    let long = "x".repeat(4_001);
    for (words, expected) in [
        (&["lake", "--size", "1x1"][..], "film size 1x1 is out of range: use sides from 64 to 3840 pixels"),
        (&["lake", "--size", "0x480"], "film size 0x480 is out of range"),
        (&["lake", "--size", "7680x4320"], "film size 7680x4320 is out of range"),
        (&["lake", "--size", "3000x100"], "film size 3000x100 is too narrow: keep the longer side within 4 times"),
        (&["lake", "--size", "large"], "use WIDTHxHEIGHT, as in 1920x1080, or 480p, 720p, 1080p, 4k"),
        (&["lake", "--size", "99999999999x480"], "use WIDTHxHEIGHT"),
        (&["lake", "--size", "-854x480"], "use WIDTHxHEIGHT"),
        (&["lake", "--seconds", "600"], "length 600 s is out of range: use 0.1 to 60 seconds"),
        (&["lake", "--seconds", "0"], "length 0 s is out of range"),
        (&["lake", "--seconds", "-1"], "length -1 s is out of range"),
        (&["lake", "--seconds", "nan"], "length NaN s is out of range"),
        (&["lake", "--seconds", "long"], "use a number of seconds, as in 2.5"),
        (
            &["lake", "--size", "4k", "--seconds", "60"],
            "too much work for this length: use at most 18 s, or a smaller size",
        ),
        (&["lake", "--fps", "0"], "fps 0 is out of range: use 1 to 60"),
        (&["lake", "--fps", "61"], "fps 61 is out of range: use 1 to 60"),
        (&["lake", "--fps", "23.976"], "use a whole number from 1 to 60"),
        (&["lake", "--seed", "-1"], "use a whole number from 0 to 18446744073709551615"),
        (&["lake", "--encoder", "vp9"], "use one of openh264, x264, svt-av1"),
        (&["lake", "--thumbnail", "/no/such/folder/a.webp"], "name a file in a folder that exists"),
        (&["lake", "--frames", "/dev/null/pictures"], "cannot make the folder /dev/null/pictures"),
        (&[""], "prompt is empty: say what to show"),
        (&[" \t\n"], "prompt is empty: say what to show"),
        (&[&long], "prompt has 4001 characters: shorten it to at most 4000"),
        (&[], "<PROMPT>"),
    ] {
        let place = Place::new()?;
        let ended = place.render(words).await?;
        assert_eq!(ended.code, 2, "{words:?}: {}", ended.said);
        assert!(ended.said.contains(expected), "{words:?}: {}", ended.said);
        assert!(place.is_empty()?, "{words:?} wrote something");
    }
    for output in ["/no/such/folder/film.mp4", "/tmp"] {
        let ended = run(&["render", "lake", "-o", output], &[]).await?;
        assert_eq!(ended.code, 2, "{}", ended.said);
        assert!(ended.said.contains(&format!("cannot write {output}")), "{}", ended.said);
    }
    Ok(())
}

#[tokio::test]
async fn the_shortest_film_is_made_at_every_shape_up_to_4k() -> Result<()> {
    for size in ["64x64", "256x64", "144x256", "4k"] {
        let place = Place::new()?;
        let ended = place.render(&["🐈 emoji", "--seconds", "0.1", "--size", size]).await?;
        assert_eq!(ended.code, 0, "{size}: {}", ended.said);
        assert!(ended.said.contains("2 pictures"), "{size}: {}", ended.said);
        let Some(facts) = probe(&place.film())? else { continue };
        let (width, height) = size.split_once('x').unwrap_or(("3840", "2160"));
        for fact in [format!("width={width}"), format!("height={height}"), "nb_read_frames=2".to_owned()] {
            assert!(facts.lines().any(|told| told == fact), "{fact} is missing in\n{facts}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_full_disk_and_a_missing_ffmpeg_are_told_with_what_to_do() -> Result<()> {
    let ended = run(&["render", "lake", "--seconds", "0.1", "--size", "64x64", "-o", "/dev/full"], &[]).await?;
    assert_eq!(ended.code, 1, "{}", ended.said);
    assert!(ended.said.contains("cannot write /dev/full: No space left on device"), "{}", ended.said);
    let place = Place::new()?;
    let film = place.film();
    let words = ["render", "lake", "--encoder", "x264", "-o", film.to_str().context("UTF-8")?];
    let ended = run(&words, &[("PATH", "/no/such/folder")]).await?;
    assert_eq!(ended.code, 1, "{}", ended.said);
    assert!(ended.said.contains("ffmpeg is not installed: install it, or use the encoder openh264"), "{}", ended.said);
    assert!(place.is_empty()?, "nothing was drawn for it");
    Ok(())
}

#[tokio::test]
async fn an_interrupted_film_is_no_film_and_leaves_no_work_folder() -> Result<()> {
    let place = Place::new()?;
    let work = Place::new()?;
    let film = place.film();
    let mut child = tokio::process::Command::new(program())
        .args(["render", "lake", "--seconds", "20", "-o"])
        .arg(&film)
        .env("TMPDIR", work.0.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("stdout")?).lines();
    while !lines.next_line().await?.context("it ended by itself")?.contains("generating_frames 7%") {}
    let id = child.id().context("a running process")?.to_string();
    ensure!(Command::new("kill").args(["-INT", &id]).status()?.success(), "kill");
    // Nobody reads on: what it says goes nowhere, and it ends all the same.
    drop(lines);
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await??;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("stopped; no film was written"), "{said}");
    assert!(place.is_empty()? && work.is_empty()?, "something is left");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_plays_and_seeks_the_film() -> Result<()> {
    let place = Place::new()?;
    let ended =
        place.render(&["aurora over a frozen lake", "--seconds", "3", "--size", "320x180", "--seed", "5"]).await?;
    assert_eq!(ended.code, 0, "{}", ended.said);
    let mut printed = clients::node("film.mjs", &json!({"file": place.film()})).await?;
    let played = printed.pop().context("a line")?;
    let number = |key: &str| played[key].as_f64().with_context(|| format!("{key} of {played}"));
    assert_eq!((&played["error"], &played["ended"]), (&json!(null), &json!(true)), "{played}");
    assert_eq!((&played["width"], &played["height"]), (&json!(320), &json!(180)), "{played}");
    assert!((number("duration")? - 3.0).abs() < 0.1 && number("seekable")? >= 2.9, "{played}");
    assert!(number("advanced")? >= 0.2 && (number("middle")? - 1.5).abs() < 0.1, "{played}");
    assert!(number("start")?.abs() < 0.01, "{played}");
    Ok(())
}
