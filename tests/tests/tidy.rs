//! The house rules that a tool can check and no other tool does. What each rule is for stands in `STYLE.md` and
//! `ARCHITECTURE.md`; nothing is built here.

#[path = "tidy/markdown.rs"]
mod markdown;
#[path = "tidy/tree.rs"]
mod tree;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;
use tree::{File, code, files, has_word, root};

/// Longest file without its tests, in lines: what a person holds in mind, twice.
const FILE_LINES_MAX: usize = 700;

/// Where `unsafe` may stand: calls into libwebp, the SIMD kernels, and dropping pages of the program, each with its safety comments.
const UNSAFE: [&str; 3] = ["crates/render/src/webp.rs", "crates/render/src/simd.rs", "crates/rushes/src/warmth.rs"];

/// Crates that stay pure: same in, same out.
const PURE: [&str; 3] = ["protocol", "access", "engine"];

/// What would make them impure, as dependencies.
const IMPURE_CRATES: [&str; 12] = [
    "async-trait",
    "axum",
    "futures-util",
    "getrandom",
    "hyper",
    "reqwest",
    "rusqlite",
    "tokio",
    "tokio-tungstenite",
    "tokio-util",
    "tracing",
    "tower",
];

/// What would make them impure, out of the standard library. `Duration` is a value and may stand.
const IMPURE_PATHS: [&str; 7] =
    ["std::fs", "std::net", "std::process", "std::thread", "time::Instant", "time::SystemTime", "std::env"];

fn fail_with(broken: &[String]) {
    assert!(broken.is_empty(), "\n  {}\n", broken.join("\n  "));
}

/// Name without the prefix, and the names of what it depends on, ours without theirs.
fn packages() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo describes the workspace");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let short = |value: &Value| {
        let name = value.as_str().expect("a package has a name");
        name.strip_prefix("rushes-").unwrap_or(name).to_owned()
    };
    let packages = metadata["packages"].as_array().expect("a workspace has packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("a package lists its dependencies");
            (short(&package["name"]), dependencies.iter().map(|one| short(&one["name"])).collect())
        })
        .collect()
}

/// The arrows as `ARCHITECTURE.md` draws them: lines `gateway → protocol, access, …` in the block marked `arrows`.
fn arrows() -> BTreeMap<String, BTreeSet<String>> {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let block = page.split("```arrows\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of arrows");
    block
        .lines()
        .map(|line| {
            let (from, to) = line.split_once('→').unwrap_or_else(|| panic!("no arrow in `{line}`"));
            let to = to.split(',').map(|name| name.trim().to_owned()).filter(|name| name != "nothing");
            (from.trim().to_owned(), to.collect())
        })
        .collect()
}

#[test]
fn crates_depend_only_along_the_arrows() {
    let (packages, arrows) = (packages(), arrows());
    let ours: BTreeSet<_> = packages.keys().cloned().collect();
    assert_eq!(
        ours,
        arrows.keys().cloned().collect(),
        "the workspace and the arrows of ARCHITECTURE.md name different crates"
    );
    let mut broken = Vec::new();
    for (from, dependencies) in &packages {
        for to in dependencies.intersection(&ours).filter(|to| !arrows[from].contains(*to)) {
            broken.push(format!("{from} → {to} is no arrow of ARCHITECTURE.md"));
        }
    }
    fail_with(&broken);
}

#[test]
fn pure_crates_have_neither_clock_nor_chance_nor_files() {
    let mut broken = Vec::new();
    for (name, dependencies) in packages().iter().filter(|(name, _)| PURE.contains(&name.as_str())) {
        for impure in IMPURE_CRATES.iter().filter(|one| dependencies.contains(**one)) {
            broken.push(format!("{name} depends on {impure}"));
        }
    }
    for file in files().iter().filter(|file| file.is_rust() && !file.is_test()) {
        if !PURE.iter().any(|name| file.path.starts_with(&format!("crates/{name}/src/"))) {
            continue;
        }
        let code = code(file.without_tests());
        for path in IMPURE_PATHS.iter().filter(|path| code.contains(**path)) {
            broken.push(format!("{} uses {path}", file.path));
        }
    }
    fail_with(&broken);
}

/// Names that `use store::…` or a path brings in, out of `code`.
fn names_from<'a>(code: &'a str, krate: &str) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(&format!("{krate}::")) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':')) {
            continue;
        }
        let rest = &code[at + krate.len() + 2..];
        let end = if rest.starts_with('{') {
            rest.find('}')
        } else {
            rest.find(|c: char| !(c.is_alphanumeric() || c == '_'))
        };
        let list = rest[..end.unwrap_or(rest.len())].trim_start_matches('{');
        names.extend(
            list.split(',').map(|name| name.split_whitespace().next().unwrap_or("")).filter(|name| !name.is_empty()),
        );
    }
    names
}

#[test]
fn the_gateway_sees_the_read_half_of_the_store_only() {
    let files = files();
    let history = files.iter().find(|file| file.path == "crates/store/src/history.rs").expect("the read half");
    let history = code(&history.text);
    let mut broken = Vec::new();
    let mut seen = 0;
    for file in
        files.iter().filter(|file| file.path.starts_with("crates/gateway/src/") && file.is_rust() && !file.is_test())
    {
        let code = code(file.without_tests());
        for name in names_from(&code, "store") {
            seen += 1;
            if !["struct", "trait", "enum"].iter().any(|kind| has_word(&history, &format!("pub {kind} {name}"))) {
                broken.push(format!(
                    "{} uses store::{name}, which crates/store/src/history.rs does not define",
                    file.path
                ));
            }
        }
    }
    assert!(seen > 0, "the gateway reads no store at all, or this test cannot see it");
    fail_with(&broken);
}

#[test]
fn each_source_file_says_what_it_owns() {
    let ours =
        |file: &&File| ["crates/", "sdk/", "tests/", "bench/"].iter().any(|folder| file.path.starts_with(folder));
    let files = files();
    let silent = files.iter().filter(ours).filter(|file| file.is_rust() && !file.text.starts_with("//! "));
    let broken: Vec<_> = silent.map(|file| format!("{} does not open with `//!`", file.path)).collect();
    fail_with(&broken);
}

#[test]
fn no_file_is_named_after_nothing() {
    let mut broken = Vec::new();
    for file in files().iter().filter(|file| file.is_rust()) {
        let name = file.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        let folders = file.path.split('/');
        if name == "mod"
            || folders
                .chain([name])
                .any(|part| matches!(part, "util" | "utils" | "common" | "helpers" | "types" | "misc"))
        {
            broken.push(format!("{}: name it after its one concept", file.path));
        }
    }
    fail_with(&broken);
}

#[test]
fn each_limit_says_why_it_is_that_much() {
    let files = files();
    let limits = files.iter().find(|file| file.path == "crates/protocol/src/limits.rs").expect("the limits");
    let (mut broken, mut seen, mut doc) = (Vec::new(), 0, "");
    for line in limits.text.lines() {
        if let Some(name) = line.strip_prefix("pub const ") {
            seen += 1;
            let name = name.split(':').next().unwrap_or(name);
            if ![":", ";", " so that "].iter().any(|gives| doc.contains(gives)) || !doc.ends_with('.') {
                broken.push(format!("{name}: a whole sentence says what it bounds and why it is that much"));
            }
        }
        doc = line.strip_prefix("/// ").unwrap_or_default();
    }
    assert!(seen > 50, "only {seen} limits were found");
    fail_with(&broken);
}

#[test]
fn the_page_of_errors_lists_the_codes_of_the_program() {
    let read =
        |path: &str| std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    // Exported from the enum, and held equal to it by the tests of `protocol`.
    let vectors: Value = serde_json::from_str(&read("spec/vectors/errors.json")).expect("vectors are JSON");
    let cases = vectors["cases"].as_array().expect("vectors have cases");
    let row = |case: &Value| {
        let code = case["code"].as_str().unwrap_or_default();
        format!("| `{code}` | {} | {} |", case["status"], if case["retryable"] == true { "yes" } else { "no" })
    };
    let wanted: Vec<_> = cases.iter().map(row).collect();
    let page = read("spec/errors.md");
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let begins: Vec<_> = rows.iter().map(|line| line.split_inclusive('|').take(4).collect::<String>()).collect();
    assert_eq!(begins, wanted, "spec/errors.md and the error codes differ, or stand in another order");
    for row in rows {
        let cells = row.trim_matches('|').split('|').map(str::trim);
        assert!(cells.clone().count() == 5 && cells.clone().all(|cell| !cell.is_empty()), "an empty cell: {row}");
    }
}

#[test]
fn no_file_is_longer_than_a_person_can_hold() {
    let mut broken = Vec::new();
    for file in files().iter().filter(|file| file.is_rust() && !file.is_test()) {
        let lines = file.without_tests().lines().count();
        if lines > FILE_LINES_MAX {
            broken.push(format!("{}: {lines} lines without its tests, {FILE_LINES_MAX} at most", file.path));
        }
    }
    fail_with(&broken);
}

#[test]
fn unsafe_stands_in_three_files_only() {
    let files = files();
    let unsafe_files = files.iter().filter(|file| file.is_rust() && has_word(&code(&file.text), "unsafe"));
    let broken: Vec<_> = unsafe_files
        .filter(|file| !UNSAFE.contains(&file.path.as_str()))
        .map(|file| format!("{} uses `unsafe`", file.path))
        .collect();
    fail_with(&broken);
}

#[test]
fn nothing_is_left_unfinished_or_unbounded() {
    let mut broken = Vec::new();
    for file in files().iter().filter(|file| file.is_rust()) {
        let code = code(&file.text);
        for word in ["todo!", "unimplemented!", "dbg!", "unbounded_channel", "#[allow(", "#![allow(", "#[ignore"] {
            if code.contains(word) {
                broken.push(format!("{} has `{word}`", file.path));
            }
        }
    }
    fail_with(&broken);
}

#[test]
fn each_direct_dependency_has_its_reason_beside_it() {
    let files = files();
    let manifest = files.iter().find(|file| file.path == "Cargo.toml").expect("the workspace's manifest");
    let section = manifest.text.split("[workspace.dependencies]\n").nth(1).expect("the workspace has dependencies");
    let section = section.split("\n[").next().unwrap_or(section);
    let (mut broken, mut seen) = (Vec::new(), 0);
    for line in
        section.lines().filter(|line| line.contains(" = ") && !line.starts_with('#') && !line.contains("path = "))
    {
        seen += 1;
        let reason = line.rsplit_once(" # ").map_or("", |(_, reason)| reason);
        if reason.split_whitespace().count() < 2 {
            broken.push(format!("no reason beside `{line}`"));
        }
    }
    assert!(seen > 20, "only {seen} dependencies were found");
    for file in files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        for line in file.text.lines().filter(|line| line.contains("version = \"") || line.contains("path = \"../")) {
            broken.push(format!("{}: `{line}`: versions and paths live in the workspace's root", file.path));
        }
    }
    fail_with(&broken);
}

/// Written in halves, so that this file does not break its own rule.
fn traces_of_a_machine() -> Vec<String> {
    let folders = ["root", "home", "Users", "work", "workspace"].map(|folder| format!("/{folder}/"));
    let hosts =
        ["registry.npmjs", "index.crates", "static.crates", "files.pythonhosted", "pypi.org/simple", "proxy.golang"];
    folders.into_iter().chain(hosts.map(|host| format!("//{host}"))).collect()
}

#[test]
fn no_file_tells_on_which_machine_it_was_made() {
    let traces = traces_of_a_machine();
    let mut broken = Vec::new();
    for file in &files() {
        for (n, line) in file.text.lines().enumerate() {
            for trace in &traces {
                // A folder of that name within the project or a URL is none of the machine.
                let begins = |at: usize| {
                    trace.starts_with("//")
                        || !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}>".contains(c))
                };
                if line.match_indices(trace.as_str()).any(|(at, _)| begins(at)) {
                    broken.push(format!("{}:{}: {trace}", file.path, n + 1));
                }
            }
            let public = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
            if file.path.ends_with("Cargo.lock") && line.starts_with("source = ") && line != public {
                broken.push(format!("{}:{}: {line}", file.path, n + 1));
            }
            if file.path.ends_with("package-lock.json") && line.contains("\"resolved\": \"http") {
                broken.push(format!("{}:{}: {line}", file.path, n + 1));
            }
        }
    }
    fail_with(&broken);
}

#[test]
fn links_between_files_lead_somewhere() {
    let files = files();
    let mut broken = Vec::new();
    let mut seen = 0;
    for page in files.iter().filter(|file| file.path.ends_with(".md")) {
        for link in markdown::links(&page.text) {
            seen += 1;
            if let Err(why) = markdown::follow(&root(), &page.path, &page.text, link) {
                broken.push(format!("{}: {link}: {why}", page.path));
            }
        }
    }
    assert!(seen > 20, "only {seen} links were found");
    fail_with(&broken);
}

#[test]
fn pages_that_are_cited_exist() {
    let mut broken = Vec::new();
    for file in
        files().iter().filter(|file| file.is_rust() || file.path.ends_with(".md") || file.path.ends_with(".toml"))
    {
        for cited in markdown::cited(&file.text) {
            if !root().join(cited).exists() {
                broken.push(format!("{} cites {cited}", file.path));
            }
        }
    }
    fail_with(&broken);
}

mod the_rules_themselves {
    use super::{code, has_word, markdown, names_from};

    #[test]
    fn comments_and_texts_are_no_code() {
        let source = "let a = \"unsafe // no\"; // unsafe\nlet b = r#\"un\"safe\"#; /* unsafe\n*/ let c = 'x'; fn d<'a>() { b'\\''; }\n";
        assert_eq!(code(source), "let a = ; \nlet b = ; \n let c = ; fn d<'a>() { b; }\n");
        assert!(has_word("{ unsafe {", "unsafe") && !has_word("unsafe_code", "unsafe"));
    }

    #[test]
    fn names_of_a_crate_are_found_in_each_form() {
        let names = names_from("use store::{A, b as c}; fn f(d: &store::D) -> restore::E {}", "store");
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["A", "D", "b"]);
    }

    #[test]
    fn links_in_code_are_no_links() {
        let page = "[a](b.md) `[c](d.md)`\n```\n[e](f.md)\n```\n[g](https://h)";
        assert_eq!(markdown::links(page), ["b.md", "https://h"]);
    }
}
