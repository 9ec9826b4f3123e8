//! The data folder, and the secret the demo keeps in it.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use access::Secret;
use data_encoding::HEXLOWER;

use super::StartError;
use crate::random::random;

/// Where the demo keeps its secret, so that links and tokens outlive a restart.
const SECRET: &str = "secret";

/// Makes the folder if it is not there, for its owner alone.
pub(super) fn make(folder: &Path) -> Result<(), StartError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|source| StartError::Folder { folder: folder.to_owned(), source })
}

/// The secret in the folder, made at the first start.
pub(super) fn own_secret(folder: &Path) -> Result<Secret, StartError> {
    let path = folder.join(SECRET);
    let failed = |source| StartError::Folder { folder: folder.to_owned(), source };
    let text = match fs::read(&path) {
        Ok(text) if !text.is_empty() => text,
        Ok(_) => write(&path).map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => write(&path).map_err(failed)?,
        Err(error) => return Err(failed(error)),
    };
    Secret::new(text).map_err(|error| failed(io::Error::other(error)))
}

fn write(path: &Path) -> io::Result<Vec<u8>> {
    let text = HEXLOWER.encode(&random::<32>()).into_bytes();
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(&text)?;
    file.sync_all()?;
    Ok(text)
}
