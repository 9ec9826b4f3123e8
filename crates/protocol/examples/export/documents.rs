//! The files of `spec/` that are made from the protocol's types, and how they lie on disk.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{asyncapi, schema, vectors};

/// One generated file.
#[derive(Debug)]
pub(crate) struct Document {
    /// Where it lies, below `spec/`.
    pub(crate) path: PathBuf,
    /// What it holds.
    pub(crate) content: Value,
}

impl Document {
    fn new(path: &str, content: Value) -> Self {
        Self { path: path.into(), content }
    }

    /// Writes it, with the folder it lies in.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(crate) fn write(&self) -> std::io::Result<()> {
        let path = spec().join(&self.path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, format!("{:#}\n", self.content))
    }
}

/// The folder all of them lie below.
pub(crate) fn spec() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec")
}

/// All of them.
pub(crate) fn all() -> Vec<Document> {
    let schemas = schema::all();
    let asyncapi = Document::new("asyncapi.json", asyncapi::document(&schemas));
    let schemas = schemas.into_iter().map(|(name, schema)| Document::new(&format!("schema/{name}.json"), schema));
    let vectors = vectors::all().into_iter().map(|(name, cases)| Document::new(&format!("vectors/{name}.json"), cases));
    std::iter::once(asyncapi).chain(schemas).chain(vectors).collect()
}
