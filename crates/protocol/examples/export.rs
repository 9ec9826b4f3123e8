//! Writes what `spec/` holds of the protocol's types: JSON Schemas, test vectors and the AsyncAPI document.
//!
//! `cargo run -p rushes-protocol --features schema --example export`. The test `vectors` fails while `spec/` differs from what this writes.

#[path = "export/asyncapi.rs"]
mod asyncapi;
#[path = "export/documents.rs"]
mod documents;
#[path = "export/schema.rs"]
mod schema;
#[path = "export/vectors.rs"]
mod vectors;

fn main() -> std::io::Result<()> {
    for document in documents::all() {
        document.write()?;
        println!("spec/{}", document.path.display());
    }
    Ok(())
}
