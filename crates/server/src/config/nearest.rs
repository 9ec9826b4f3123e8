//! What somebody who mistyped a key meant.

use super::setting::SETTINGS;

/// Says that `key` is unknown, and which known one is near.
pub(super) fn unknown(key: &str) -> String {
    let same = |known: &str| known.replace('.', "_") == key.replace(['-', '.'], "_");
    let known = SETTINGS.iter().map(|setting| setting.key);
    let near = known
        .clone()
        .find(|known| same(known))
        // A name without its section, or under another one: `events` for `retention.events`.
        .or_else(|| known.clone().find(|known| last(known) == last(key)))
        .or_else(|| {
            known
                .map(|known| (distance(known, key), known))
                .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
                .min()
                .map(|(_, known)| known)
        });
    match near {
        Some(near) => format!("unknown key `{key}`; did you mean `{near}`?"),
        None => format!("unknown key `{key}`; `rushes config print` lists all keys"),
    }
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// How many letters are to be inserted, removed or replaced (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_letters() {
        for (a, b, expected) in [("", "", 0), ("listen", "lisen", 1), ("kitten", "sitting", 3), ("", "abc", 3)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn the_nearest_key_is_named_and_a_far_one_is_not() {
        assert_eq!(unknown("lisen"), "unknown key `lisen`; did you mean `listen`?");
        assert_eq!(unknown("log_level"), "unknown key `log_level`; did you mean `log.level`?");
        assert_eq!(unknown("store.events"), "unknown key `store.events`; did you mean `retention.events`?");
        assert_eq!(unknown("zzz"), "unknown key `zzz`; `rushes config print` lists all keys");
    }
}
