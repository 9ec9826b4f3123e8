//! Lists the files of the studio in `web/dist`, so that they become part of the program. Builds nothing itself: what stands
//! there was made by `scripts/studio` and is committed, so that a build of the server needs no Node.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The page; every other file lies below [`ASSETS`].
const PAGE: &str = "index.html";
const ASSETS: &str = "assets";

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the folder of the crate"));
    let dist = manifest.join("../../web/dist");
    println!("cargo::rerun-if-changed={}", dist.display());
    println!("cargo::rerun-if-changed={}", dist.join(ASSETS).display());
    match list(&dist) {
        Ok(files) => write(&files),
        Err(why) => println!("cargo::error=the studio is missing: {why}; run scripts/studio, which needs Node"),
    }
}

/// Name below `/`, and where it is.
fn list(dist: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let mut files = Vec::new();
    for (folder, prefix) in [(dist.to_owned(), String::new()), (dist.join(ASSETS), format!("{ASSETS}/"))] {
        let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for entry in entries {
            let path = entry.map_err(|error| format!("{}: {error}", folder.display()))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match (path.is_dir(), prefix.is_empty(), name) {
                (true, true, ASSETS) => {}
                (false, true, PAGE) | (false, false, _) => files.push((format!("{prefix}{name}"), path)),
                _ => return Err(format!("{} is neither {PAGE} nor a file in {ASSETS}", path.display())),
            }
        }
    }
    files.sort();
    for (name, path) in &files {
        if fs::metadata(path).is_ok_and(|file| file.len() == 0) {
            return Err(format!("{name} is empty"));
        }
    }
    if files.iter().any(|(name, _)| name == PAGE) { Ok(files) } else { Err(format!("no {PAGE} in {}", dist.display())) }
}

fn write(files: &[(String, PathBuf)]) {
    let mut table = String::from("&[\n");
    for (name, path) in files {
        println!("cargo::rerun-if-changed={}", path.display());
        table.push_str(&format!("({name:?}, include_bytes!({:?}) as &[u8]),\n", path.display().to_string()));
    }
    table.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names a folder to write to")).join("studio.rs");
    fs::write(out, table).expect("the folder that cargo named can be written");
}
