//! The files of the project, and Rust source without its comments and texts. Which rules hold is the test's to say.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A file that git tracks, or would.
#[derive(Debug)]
pub(crate) struct File {
    /// Below the root, with `/` between folders.
    pub(crate) path: String,
    /// What it holds; files that are not text are left out of the tree.
    pub(crate) text: String,
}

/// Where the workspace begins.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie below the root").to_owned()
}

/// All text files that are tracked, or new and not ignored.
pub(crate) fn files() -> Vec<File> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root())
        .output()
        .expect("git lists the files of the tree");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let paths = String::from_utf8(listed.stdout).expect("paths are UTF-8");
    let files: Vec<_> = paths
        .split_terminator('\0')
        .filter_map(|path| {
            // Deleted and not yet committed, or a picture.
            let text = std::fs::read_to_string(root().join(path)).ok()?;
            Some(File { path: path.to_owned(), text })
        })
        .collect();
    assert!(files.len() > 100, "only {} files were found", files.len());
    files
}

impl File {
    /// Is it Rust?
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Is all of it a test?
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| matches!(part, "tests" | "tests.rs"))
    }

    /// Its lines before the tests at its end.
    pub(crate) fn without_tests(&self) -> &str {
        match self.text.find("\n#[cfg(test)]\nmod ") {
            Some(end) => &self.text[..end],
            None => &self.text,
        }
    }
}

/// `source` with comments and the content of texts gone, line by line as before.
pub(crate) fn code(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = text_length(rest, out.chars().next_back()) {
            length
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        out.extend(rest[..length].chars().filter(|c| *c == '\n'));
        rest = &rest[length..];
    }
    out
}

/// Bytes of the string or character that `rest` begins with, if it does; `before` stands in front of it.
fn text_length(rest: &str, before: Option<char>) -> Option<usize> {
    let bytes = rest.as_bytes();
    match bytes[0] {
        b'"' => Some(quoted_length(rest)),
        b'r' if !before.is_some_and(|c| c.is_alphanumeric() && c != 'b' || c == '_') => {
            let hashes = bytes[1..].iter().take_while(|byte| **byte == b'#').count();
            if bytes.get(1 + hashes) != Some(&b'"') {
                return None;
            }
            let end = format!("\"{}", "#".repeat(hashes));
            let from = hashes + 2;
            Some(rest[from..].find(&end).map_or(rest.len(), |at| from + at + end.len()))
        }
        // A character, and not a lifetime.
        b'\'' if bytes.get(1) == Some(&b'\\') => rest[3..].find('\'').map(|at| at + 4),
        b'\'' => {
            let mut letters = rest[1..].char_indices();
            letters.next()?;
            let (end, close) = letters.next()?;
            (close == '\'').then_some(end + 2)
        }
        _ => None,
    }
}

fn quoted_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Does `word` stand in `code`, and not as a part of a longer one?
pub(crate) fn has_word(code: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        !code[..at].chars().next_back().is_some_and(part) && !code[at + word.len()..].chars().next().is_some_and(part)
    })
}
