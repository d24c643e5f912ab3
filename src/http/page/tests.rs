//! What the page says, that it stands alone, and that nothing in it is markup from elsewhere.

use std::collections::BTreeMap;

use super::*;
use crate::http::sample;
use crate::http::status::{DrillState, KEPT_TABLES, Outcome};

/// Everything between `<` and `>`.
fn tags(page: &str) -> Vec<&str> {
    let after = page.split('<').skip(1);
    after.map(|rest| rest.split('>').next().unwrap()).collect()
}

/// What a person reads, without markup.
fn text(page: &str) -> String {
    let body = page.split_once("<body>").unwrap().1;
    body.split('<')
        .filter_map(|rest| Some(rest.split_once('>')?.1))
        .collect::<Vec<_>>()
        .concat()
}

#[test]
fn the_page_stands_alone_and_runs_nothing() {
    for status in [
        sample::backup_agent(),
        sample::restore_agent(),
        sample::empty(AgentKind::BackupAgent),
    ] {
        let page = page(&status);
        for foreign in [
            "://",
            "@import",
            "url(",
            "<script",
            "<link",
            "<img",
            "<iframe",
            "javascript:",
        ] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(
            tags(&page)
                .iter()
                .all(|tag| !tag.contains(" on") && !tag.contains("src="))
        );
    }
}

#[test]
fn elements_that_are_opened_are_closed_in_order() {
    for status in [
        sample::backup_agent(),
        sample::restore_agent(),
        sample::empty(AgentKind::RestoreAgent),
    ] {
        let page = page(&status);
        let mut open: Vec<&str> = Vec::new();
        for tag in tags(&page) {
            let name = tag.split(' ').next().unwrap();
            match name.strip_prefix('/') {
                Some(closed) => assert_eq!(open.pop(), Some(closed)),
                None if ["!doctype", "meta"].contains(&name) || tag.ends_with('/') => {}
                None => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}

#[test]
fn a_person_reads_the_verdict_the_age_and_the_evidence() {
    let text = text(&page(&sample::restore_agent()));
    for words in [
        "Attention",
        "The newest certified backup is 7 h old",
        "The newest backup could not be judged",
        "The manifest of one backup cannot be read.",
        "A drill found an older backup wrong.",
        "Would be lost now1 hobjective 8 h",
        "Recovery took4 min 47 sobjective 15 min",
        "23",
        "21 certified, 1 failed",
        "public.order_lines",
        "12,707,211",
        "6 tables, all equal",
        "What was not tested (2)",
        "the target could not be reached",
    ] {
        assert!(text.contains(words), "no '{words}' in {text}");
    }
}

#[test]
fn a_run_that_goes_on_shows_its_phase_and_how_far_it_is() {
    let text = text(&page(&sample::backup_agent()));
    assert!(
        text.contains("A backup goes on") && text.contains("asked for"),
        "{text}"
    );
    assert!(text.contains("dump shop: 1.3 GiB of about 2.1 GiB, 61 %"), "{text}");
    assert!(text.contains("at oncewhen this one has ended"), "{text}");
}

#[test]
fn before_the_bucket_has_been_read_the_page_does_not_calm_anybody() {
    let text = text(&page(&sample::empty(AgentKind::BackupAgent)));
    assert!(
        text.contains("Not known yet") && text.contains("The bucket has not been read yet."),
        "{text}"
    );
    assert!(!text.contains("well"), "{text}");
}

#[test]
fn tables_that_differ_are_counted_and_say_how() {
    let mut status = sample::restore_agent();
    let certificate = sample::repository_of(&mut status).newest_certificate.as_mut().unwrap();
    certificate.state = DrillState::Failed;
    certificate.differing_tables = 1;
    certificate.tables[4].is_equal = false;
    certificate.tables[4].remark = Some("89 rows were rebuilt".to_owned());
    let text = text(&page(&status));
    assert!(
        text.contains("6 tables, 1 not equal") && text.contains("89 rows were rebuilt"),
        "{text}"
    );
}

#[test]
fn names_and_errors_from_outside_stay_text() {
    let hostile = "</title><script>alert(1)</script>\"'&";
    let mut status = sample::backup_agent();
    status.cluster = Some(hostile.to_owned());
    status.waiting_for = Some(hostile.to_owned());
    status.current.as_mut().unwrap().phase.as_mut().unwrap().name = hostile.to_owned();
    status.runs[0].message = Some(hostile.to_owned());
    status.runs[0].outcome = Outcome::Failed;
    let repository = sample::repository_of(&mut status);
    repository.backups[0].damage = Some(hostile.to_owned());
    repository.backups[1].backup_id = hostile.to_owned();
    let certificate = repository.newest_certificate.as_mut().unwrap();
    certificate.summary = hostile.to_owned();
    certificate.reasons = vec![hostile.to_owned()];
    certificate.not_tested = vec![hostile.to_owned()];
    certificate.phases[0].name = hostile.to_owned();
    certificate.tables[0].table = hostile.to_owned();
    certificate.tables[0].remark = Some(hostile.to_owned());
    let page = page(&status);
    assert!(!page.contains("<script") && !page.contains("</title><s"));
    let escaped = "&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;";
    assert!(page.matches(escaped).count() >= 11, "{}", page.matches(escaped).count());
}

#[test]
fn thousands_of_backups_and_tables_make_no_endless_page() {
    let mut status = sample::restore_agent();
    let repository = sample::repository_of(&mut status);
    let backup = repository.backups[0].clone();
    repository.backups = vec![backup; 5000];
    let certificate = repository.newest_certificate.as_mut().unwrap();
    certificate.tables = vec![certificate.tables[0].clone(); KEPT_TABLES];
    certificate.total_tables = 20_000;
    let page = page(&status);
    assert!(page.len() < 1 << 20, "{} bytes", page.len());
    assert!(text(&page).contains("4792 more") && text(&page).contains("19500 more"));
}

/// As the accessibility guidelines reckon it: 4.5 to 1 for text, in both themes.
#[test]
fn text_stands_out_from_what_it_is_written_on() {
    let themes: Vec<BTreeMap<&str, f64>> = STYLE.split(":root {").skip(1).map(luminances).collect();
    assert_eq!(themes.len(), 2);
    for theme in themes {
        for (text, ground) in [
            ("ink", "paper"),
            ("ink", "card"),
            ("soft", "paper"),
            ("soft", "card"),
            ("good", "good-tint"),
            ("warn", "warn-tint"),
            ("bad", "bad-tint"),
            ("idle", "idle-tint"),
            ("ink", "warn-tint"),
            ("ink", "bad-tint"),
            ("ink", "idle-tint"),
        ] {
            let (one, other) = (theme[text] + 0.05, theme[ground] + 0.05);
            let contrast = one.max(other) / one.min(other);
            assert!(contrast >= 4.5, "{text} on {ground}: {contrast:.2}");
        }
    }
}

/// The relative luminance of each `--name: #rrggbb` up to the end of the rule.
fn luminances(rule: &str) -> BTreeMap<&str, f64> {
    let declarations = rule.split('}').next().unwrap().split(';');
    let colours = declarations.filter_map(|declaration| declaration.trim().strip_prefix("--")?.split_once(": #"));
    let luminance = |digits: &str| -> f64 {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&digits[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
    };
    colours.map(|(name, digits)| (name, luminance(digits))).collect()
}

#[test]
fn copies_stand_in_a_table_with_what_is_known_of_each_and_only_where_there_are_some() {
    let mut status = sample::backup_agent();
    status.copies[1].trouble = Some("<b>away</b>".to_owned());
    status.copies[1].missing = None;
    let page = page(&status);
    assert!(!page.contains("<b>away"), "{page}");
    let text = text(&page);
    let (_, copies) = text.split_once("Copies").unwrap();
    for told in [
        "nas",
        "being filled",
        "20 min ago",
        "offsite",
        "behind",
        "away",
        "not known",
    ] {
        assert!(copies.contains(told), "{told}: {copies}");
    }
    assert!(!super::page(&sample::restore_agent()).contains("Copies"));
}
