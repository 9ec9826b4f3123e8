//! The committed pages that are made by the program.

use std::{fs, path::Path};

/// `UPDATE=1` writes the page instead.
#[test]
fn the_configuration_page_is_what_the_table_of_options_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/configuration.md");
    let made = rushes_server::config::reference_page();
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(page.parent().unwrap()).unwrap();
        fs::write(&page, &made).unwrap();
    }
    let kept = fs::read_to_string(&page).unwrap_or_default();
    assert!(kept == made, "docs/reference/configuration.md is out of date: `rushes config reference` makes it");
}
