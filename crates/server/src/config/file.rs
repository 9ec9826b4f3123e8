//! `rushes.toml`: keys flattened to `section.key`, each with its line.

use std::{ops::Range, path::Path};

use protocol::Pipeline;
use toml::{Spanned, de::DeTable, de::DeValue};

use super::{
    nearest, pipeline,
    setting::{SETTINGS, Setting, find},
    tenant::{self, Tenant},
    webhook::{self, Webhook},
};

/// One known key.
pub(super) struct Entry {
    pub(super) setting: &'static Setting,
    /// Its value as text; lists with commas.
    pub(super) text: String,
    /// From 1.
    pub(super) line: usize,
}

/// What a file holds, and everything that is wrong with it.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) entries: Vec<Entry>,
    pub(super) webhooks: Vec<Webhook>,
    /// With the line each begins at.
    pub(super) pipelines: Vec<(usize, Pipeline)>,
    pub(super) tenants: Vec<(usize, Tenant)>,
    /// With the line of each.
    pub(super) problems: Vec<(usize, String)>,
}

/// Reads `text`, which was found at `path`.
pub(super) fn read(path: &Path, text: &str) -> Contents {
    let mut reader = Reader { path, text, contents: Contents::default() };
    match DeTable::parse(text) {
        Ok(table) => reader.table("", table.get_ref()),
        Err(error) => reader.problem(error.span(), error.message()),
    }
    reader.contents
}

/// Reads `text` of a folder of pipelines: `[[pipeline]]` tables and nothing else.
pub(super) fn read_pipelines(path: &Path, text: &str) -> Contents {
    let mut reader = Reader { path, text, contents: Contents::default() };
    match DeTable::parse(text) {
        Ok(table) => {
            for (name, value) in table.get_ref() {
                if name.get_ref() == "pipeline" {
                    reader.pipelines(value);
                } else {
                    let problem = format!("`{}` stands in a file of pipelines: move it to rushes.toml", name.get_ref());
                    reader.problem(Some(name.span()), &problem);
                }
            }
        }
        Err(error) => reader.problem(error.span(), error.message()),
    }
    reader.contents
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    contents: Contents,
}

impl Reader<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            let section = format!("{key}.");
            if key == "pipeline" {
                self.pipelines(value);
            } else if key == "webhook" {
                self.webhooks(value);
            } else if key == "tenant" {
                self.tenants(value);
            } else if let (Some(setting), Some(text)) = (find(&key), scalar(value.get_ref())) {
                let line = self.line(&value.span());
                self.contents.entries.push(Entry { setting, text, line });
            } else if let Some(setting) = find(&key) {
                let kind = value.get_ref().type_str();
                self.problem(Some(value.span()), &format!("`{key}` cannot be a {kind}: {}", setting.takes));
            } else if let (DeValue::Table(inner), true) = (value.get_ref(), is_section(&section)) {
                self.table(&section, inner);
            } else {
                self.problem(Some(name.span()), &nearest::unknown(&key));
            }
        }
    }

    fn pipelines(&mut self, value: &Spanned<DeValue<'_>>) {
        let DeValue::Array(tables) = value.get_ref() else {
            self.problem(Some(value.span()), "write pipelines as [[pipeline]] tables");
            return;
        };
        for table in tables {
            let line = self.line(&table.span());
            match pipeline::read(table.clone()) {
                Ok(pipeline) => self.contents.pipelines.push((line, pipeline)),
                Err((span, problem)) => self.problem(Some(span.unwrap_or_else(|| table.span())), &problem),
            }
        }
    }

    fn tenants(&mut self, value: &Spanned<DeValue<'_>>) {
        let DeValue::Array(tables) = value.get_ref() else {
            self.problem(Some(value.span()), "write tenants as [[tenant]] tables");
            return;
        };
        for table in tables {
            match tenant::read(table.clone()) {
                Ok(one) if self.contents.tenants.iter().any(|(_, other)| other.name == one.name) => {
                    self.problem(Some(table.span()), &format!("tenant {} stands twice: keep one", one.name));
                }
                Ok(one) => {
                    let line = self.line(&table.span());
                    self.contents.tenants.push((line, one));
                }
                Err((span, problem)) => self.problem(Some(span.unwrap_or_else(|| table.span())), &problem),
            }
        }
    }

    fn webhooks(&mut self, value: &Spanned<DeValue<'_>>) {
        let DeValue::Array(tables) = value.get_ref() else {
            self.problem(Some(value.span()), "write webhooks as [[webhook]] tables");
            return;
        };
        for table in tables {
            match webhook::read(table.clone()) {
                Ok(one) if self.contents.webhooks.iter().any(|other| other.name == one.name) => {
                    self.problem(Some(table.span()), &format!("webhook {:?} stands twice: names are unique", one.name));
                }
                Ok(_) if self.contents.webhooks.len() == webhook::WEBHOOKS_MAX => {
                    self.problem(Some(table.span()), &format!("at most {} webhooks", webhook::WEBHOOKS_MAX));
                }
                Ok(one) => self.contents.webhooks.push(one),
                Err((span, problem)) => self.problem(Some(span.unwrap_or_else(|| table.span())), &problem),
            }
        }
    }

    fn problem(&mut self, span: Option<Range<usize>>, what: &str) {
        let line = span.map_or(1, |span| self.line(&span));
        let problem = format!("{}:{line}: {}", self.path.display(), what.trim_end().replace('\n', "; "));
        self.contents.problems.push((line, problem));
    }

    fn line(&self, span: &Range<usize>) -> usize {
        let until = span.start.min(self.text.len());
        1 + self.text.as_bytes()[..until].iter().filter(|byte| **byte == b'\n').count()
    }
}

fn is_section(prefix: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.key.starts_with(prefix))
}

/// A value as its text, as environment and flags have it; a list of texts with commas.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Array(entries) => {
            let texts: Option<Vec<_>> = entries.iter().map(|entry| entry.get_ref().as_str()).collect();
            texts.map(|texts| texts.join(","))
        }
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}
