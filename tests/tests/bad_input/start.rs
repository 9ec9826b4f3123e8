//! What a server refuses to start with. Each refusal names the file, folder, port or key, and what to do; nothing is
//! deleted on the way.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use anyhow::Result;
use rushes_tests::{
    Server,
    program::{Ended, SECRET, run},
};
use tempfile::TempDir;

use super::goes_on;

/// A data folder with history in it, whose server has stopped.
async fn used() -> Result<TempDir> {
    let folder = TempDir::new()?;
    let mut server = Server::start_in(folder.path(), &[])?;
    for _ in 0..20 {
        server.submit("ada").await?;
    }
    assert!(server.terminate().await?.success());
    Ok(folder)
}

/// A start that must fail.
async fn refused(data: &Path, names: &[&str]) -> Result<Ended> {
    let data = data.display().to_string();
    let ended = run(&["serve", "--listen", "127.0.0.1:0", "--data", &data], &[("JWT_SECRET", SECRET)]).await?;
    assert!(ended.code == 1 || ended.code == 2, "{ended:?}");
    for name in names {
        assert!(ended.said.contains(name), "does not name {name:?}: {}", ended.said);
    }
    assert!(!ended.said.contains("panicked"), "{}", ended.said);
    Ok(ended)
}

/// Everything below a folder.
fn contents(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // The lock holds the number of the process that asked last.
        if path.is_dir() {
            all.extend(contents(&path)?);
        } else if path.file_name().is_some_and(|name| name != "lock") {
            all.insert(path.clone(), fs::read(&path)?);
        }
    }
    Ok(all)
}

/// Refused, named, with the way back, and left as it was.
async fn refused_and_untouched(folder: &TempDir, names: &[&str]) -> Result<()> {
    let before = contents(folder.path())?;
    refused(folder.path(), names).await?;
    let after = contents(folder.path())?;
    assert!(before == after, "changed: {:?} became {:?}", before.keys(), after.keys());
    Ok(())
}

/// Bytes of a page of the database.
const PAGE: usize = 4096;

const WAY_BACK: [&str; 3] = ["rushes.db", "backup", ".recover"];

#[tokio::test]
async fn a_truncated_database_is_refused_and_left_alone() -> Result<()> {
    let folder = used().await?;
    let database = folder.path().join("rushes.db");
    let whole = fs::read(&database)?;
    for length in [whole.len() - 1, whole.len() - PAGE, whole.len() / 2, PAGE, 100, 10, 0] {
        fs::write(&database, &whole[..length])?;
        println!("{length} of {} bytes", whole.len());
        refused_and_untouched(&folder, &WAY_BACK).await?;
    }
    fs::write(&database, &whole)?;
    goes_on(&Server::start_in(folder.path(), &[])?).await
}

#[tokio::test]
async fn a_corrupt_database_is_refused_and_left_alone() -> Result<()> {
    let folder = used().await?;
    let database = folder.path().join("rushes.db");
    let whole = fs::read(&database)?;
    let pages = whole.len() / PAGE;
    for page in [0, 1, pages / 2, pages - 1] {
        let file = fs::File::options().write(true).open(&database)?;
        file.write_all_at(&[0xa5; 2048], (page * PAGE) as u64)?;
        println!("page {page} of {pages}");
        refused_and_untouched(&folder, &WAY_BACK).await?;
        fs::write(&database, &whole)?;
    }
    fs::write(&database, "this was somebody's diary\n".repeat(500))?;
    refused_and_untouched(&folder, &WAY_BACK).await?;
    fs::write(&database, &whole)?;
    goes_on(&Server::start_in(folder.path(), &[])?).await
}

#[tokio::test]
async fn a_data_folder_of_another_version_is_refused_and_left_alone() -> Result<()> {
    let folder = used().await?;
    let database = folder.path().join("rushes.db");
    // Bytes 60 to 63 of an SQLite file are its user version.
    fs::File::options().write(true).open(&database)?.write_all_at(&4_711_u32.to_be_bytes(), 60)?;
    let name = folder.path().display().to_string();
    refused_and_untouched(&folder, &[&name, "version 4711", "version 3", "choose another folder"]).await
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_alone() -> Result<()> {
    let folder = used().await?;
    let database = folder.path().join("rushes.db");
    // Bytes 68 to 71 say whose it is.
    fs::File::options().write(true).open(&database)?.write_all_at(&1_u32.to_be_bytes(), 68)?;
    refused_and_untouched(&folder, &["rushes.db", "another program"]).await
}

#[tokio::test]
async fn a_data_folder_in_use_is_named_with_who_has_it() -> Result<()> {
    let server = Server::start()?;
    let (name, holder) = (server.data().display().to_string(), format!("process {}", server.pid()));
    refused(server.data(), &[&name, &holder, "another folder"]).await?;
    goes_on(&server).await
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_flag_that_changes_it() -> Result<()> {
    let server = Server::start()?;
    let other = TempDir::new()?;
    let (address, data) = (server.url.trim_start_matches("http://"), other.path().display().to_string());
    let ended = run(&["serve", "--listen", address, "--data", &data], &[("JWT_SECRET", SECRET)]).await?;
    assert!(ended.code == 1 && ended.said.contains(address) && ended.said.contains("--listen"), "{ended:?}");
    goes_on(&server).await
}

#[tokio::test]
async fn a_data_folder_that_is_a_file_is_named() -> Result<()> {
    let folder = TempDir::new()?;
    let file = folder.path().join("data");
    fs::write(&file, "a file")?;
    refused(&file, &[&file.display().to_string()]).await?;
    assert_eq!(fs::read_to_string(&file)?, "a file");
    Ok(())
}

#[tokio::test]
async fn a_server_for_others_does_not_start_without_a_secret() -> Result<()> {
    let folder = TempDir::new()?;
    let data = folder.path().join("data").display().to_string();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data", data.as_str()];
    for environment in [&[][..], &[("JWT_SECRET", "")][..]] {
        let ended = run(&serve, environment).await?;
        assert!(ended.code == 2 && ended.said.contains("JWT_SECRET"), "{ended:?}");
    }
    assert!(!Path::new(&data).exists(), "nothing was made");
    Ok(())
}

#[tokio::test]
async fn everything_wrong_in_a_configuration_file_is_named_with_its_line() -> Result<()> {
    let folder = TempDir::new()?;
    let file = folder.path().join("rushes.toml");
    let lines =
        ["listen = \"127.0.0.1:0\"", "durabilty = \"strict\"", "[log]", "levle = \"info\"", "format = 7", "[sound]"];
    fs::write(&file, lines.join("\n"))?;
    let (path, data) = (file.display().to_string(), folder.path().join("data").display().to_string());
    let serve = ["serve", "--config", path.as_str(), "--data", data.as_str()];
    let ended = run(&serve, &[("JWT_SECRET", SECRET)]).await?;
    assert_eq!(ended.code, 2, "{ended:?}");
    let named = [(2, "durability"), (4, "log.level"), (5, "log.format"), (6, "sound")];
    for (line, key) in named {
        let place = format!("{path}:{line}:");
        assert!(
            ended.said.lines().any(|said| said.contains(&place) && said.contains(key)),
            "{line} {key}: {}",
            ended.said
        );
    }
    assert!(!Path::new(&data).exists(), "nothing was made");
    Ok(())
}

#[tokio::test]
async fn options_out_of_bounds_are_named_with_their_bounds() -> Result<()> {
    let folder = TempDir::new()?;
    let data = folder.path().display().to_string();
    for (flag, value, bound) in [
        ("--listen", "localhost", "address"),
        ("--drain", "2d", "1h"),
        ("--durability", "maybe", "strict"),
        ("--lease-silence", "1s", "5s"),
        ("--limits-artifact-bytes", "1", "1KiB"),
        ("--public-url", "films.example", "https://"),
    ] {
        let ended = run(&["serve", "--data", &data, flag, value], &[("JWT_SECRET", SECRET)]).await?;
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.said.contains(flag.trim_start_matches("--").split('-').next_back().unwrap_or(flag)), "{ended:?}");
        assert!(ended.said.contains(bound), "{flag} {value}: {}", ended.said);
    }
    Ok(())
}
