//! `config print` and the reference page, both from the table.

use std::fmt::Write as _;

use super::{Config, Loaded, Mode, SETTINGS, Source, pipeline, setting::Setting, tenant, webhook};

impl Loaded {
    /// The effective configuration as TOML, with where each value came from. Secrets are hidden.
    #[must_use]
    pub fn print(&self) -> String {
        let rows: Vec<(&Setting, String)> = SETTINGS.iter().map(|setting| (setting, self.row(setting))).collect();
        // Ragged where a value is long: one long path must not push all comments off the screen.
        let width = rows.iter().map(|(_, row)| row.len()).filter(|width| *width <= 48).max().unwrap_or(0);
        let mut page = String::new();
        let mut section = "";
        for (setting, row) in &rows {
            if section != section_of(setting) {
                section = section_of(setting);
                let _ = write!(page, "\n[{section}]\n");
            }
            let source = self.sources.get(setting.key).unwrap_or(&Source::Default);
            let note = if *source == Source::Default && differs_in(self.mode, setting) { " of demo" } else { "" };
            let _ = writeln!(page, "{row:width$}  # {source}{note}");
        }
        for pipeline in &self.config.pipelines {
            let stages: Vec<_> = pipeline.stages.iter().map(|stage| stage.name.as_str()).collect();
            let _ = write!(page, "\n# [[pipeline]] {}@{}: {}\n", pipeline.name, pipeline.version, stages.join(", "));
        }
        for webhook in &self.config.webhooks {
            let _ = write!(page, "\n# [[webhook]] {} of tenant {}: {}\n", webhook.name, webhook.tenant, webhook.url);
        }
        for tenant in &self.config.tenants {
            let _ = write!(page, "\n# [[tenant]] {}: weight {}\n", tenant.name, tenant.weight);
        }
        page
    }

    fn row(&self, setting: &Setting) -> String {
        let key = setting.key.rsplit('.').next().unwrap_or(setting.key);
        match (setting.show)(&self.config) {
            Some(value) => format!("{key} = {value}"),
            None => format!("# {key} is not set"),
        }
    }
}

fn section_of(setting: &Setting) -> &'static str {
    setting.key.split_once('.').map_or("", |(section, _)| section)
}

fn differs_in(mode: Mode, setting: &Setting) -> bool {
    (setting.show)(&Config::defaults(mode)) != (setting.show)(&Config::defaults(Mode::Serve))
}

/// The reference page, `docs/reference/configuration.md`.
#[must_use]
pub fn reference_page() -> String {
    let mut page = String::from(
        "# Configuration\n\n<!-- Made from the table of options by `rushes config reference`; do not edit. -->\n\n\
         Values come from `rushes.toml` in the working folder (or the file given with `--config`), then from the environment, \
         then from flags; what comes later wins. Unknown keys are errors. `rushes config check` looks for mistakes without \
         starting anything, `rushes config print` shows the effective values and where each came from.\n\n\
         Durations are a number and a unit (`500ms`, `30s`, `10m`, `12h`, `30d`), sizes bytes or `KiB`, `MiB`, `GiB`. \
         In the environment and in flags, lists are written with commas.\n",
    );
    let defaults = Config::defaults(Mode::Serve);
    let demo = Config::defaults(Mode::Demo);
    let mut section = "";
    for setting in SETTINGS {
        if section != section_of(setting) {
            section = section_of(setting);
            let _ = write!(page, "\n## `[{section}]`\n");
        }
        let shown =
            |config: &Config| (setting.show)(config).map_or_else(|| "not set".to_owned(), |value| format!("`{value}`"));
        let _ = write!(page, "\n### `{}`\n\n{}\n\n", setting.key, setting.doc);
        let _ = writeln!(page, "- Takes: {}", setting.takes);
        let in_demo =
            if shown(&defaults) == shown(&demo) { String::new() } else { format!("; in the demo {}", shown(&demo)) };
        let _ = writeln!(page, "- Default: {}{in_demo}", shown(&defaults));
        let alias = setting.environment_alias.map_or(String::new(), |name| format!(" or `{name}`"));
        let _ = writeln!(page, "- Environment: `{}`{alias} · flag: `{}`", setting.environment(), setting.flag());
        let _ = writeln!(page, "- Since: {}", setting.since);
    }
    let _ = write!(
        page,
        "\n## `[[pipeline]]`\n\nPipelines beside the built-in `video` and `external`, only in the file or in files of the \
         folder `pipelines`. A stage has a `name` and may have `pool` (default `gpu`), `weight` (1), `message`, `timeout` \
         (`30m`), `stall` (`2m`), `retries` (3), `backoff` (`200ms`, doubling) and `backoff_max` (`1m`), `breaker` (its \
         backend; default the pool), `bigger_pool` (the pool of a retry after it ran out of memory), `keep` (false) and \
         `expected` (`10s`). A version, once used, is never changed: raise `version`.\n\n```toml\n{}```\n\n\
         ## `[[tenant]]`\n\nWhat one tenant may use, where that differs from `[limits]`.\n\n```toml\n{}```\n",
        pipeline::EXAMPLE,
        tenant::EXAMPLE
    );
    let _ = write!(
        page,
        "\n## `[[webhook]]`\n\nEndpoints that are told of a tenant's generations by HTTP, only in the file; \
         [webhooks](../webhooks.md) describes what they get. An endpoint has a `name`, a `url` and a `secret` (or several while \
         receivers change over, or a `secret_file` with one a line), and may have `tenant` (default `default`), `events` \
         (default the three ends; `[\"*\"]` is all) and `retries`, the waits between tries (at most 16, each of `10ms` to \
         `24h`; nine by default, some three days in all). An endpoint that is removed from the file is forgotten with what was still to be sent to it.\n\n```toml\n{}```\n",
        webhook::EXAMPLE
    );
    page
}
