//! Links of Markdown pages, and pages that are cited by path.

use std::path::Path;

/// Targets of the links of `page`, code left out.
pub(crate) fn links(page: &str) -> Vec<&str> {
    let mut links = Vec::new();
    for line in outside_code(page) {
        // What stands between backticks is every second part.
        for part in line.split('`').step_by(2) {
            let ends = part.match_indices("](").filter_map(|(at, _)| part[at + 2..].split(')').next());
            links.extend(ends.filter(|target| !target.is_empty()));
        }
    }
    links
}

fn outside_code(page: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The anchor of a heading, as code hosts make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// Does `link`, which stands on the page at `from`, lead somewhere? Links out of the project are not followed.
pub(crate) fn follow(root: &Path, from: &str, text: &str, link: &str) -> Result<(), &'static str> {
    if link.contains("://") || link.starts_with("mailto:") {
        return Ok(());
    }
    let (path, place) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { root.join(from) } else { root.join(from).with_file_name(path) };
    if !target.exists() {
        return Err("no such file");
    }
    if place.is_empty() {
        return Ok(());
    }
    let other;
    let text = if path.is_empty() {
        text
    } else {
        other = std::fs::read_to_string(target).map_err(|_| "not a page")?;
        &other
    };
    let there = outside_code(text)
        .filter(|line| line.starts_with('#'))
        .any(|line| anchor(line.trim_start_matches('#')) == place);
    if there { Ok(()) } else { Err("no such heading") }
}

/// Pages, files of the specification and sources that `text` names by their whole path.
pub(crate) fn cited(text: &str) -> Vec<&str> {
    let mut cited = Vec::new();
    for folder in ["docs/", "spec/", "crates/", "sdk/", "tests/tests/"] {
        for (at, _) in text.match_indices(folder) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '}')) {
                continue;
            }
            let path = &text[at..];
            let end = path
                .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_')))
                .unwrap_or(path.len());
            let path = path[..end].trim_end_matches('.');
            if [".md", ".json", ".toml", ".rs"].iter().any(|ending| path.ends_with(ending)) {
                cited.push(path);
            }
        }
    }
    cited
}
