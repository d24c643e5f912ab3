//! The page in a real browser, from a real port.

use kubebackup::http::{page, sample};

use crate::support::agents::Agents;
use crate::support::browser::dump_dom;
use crate::support::http::Port;

#[test]
fn a_browser_shows_the_verdict_the_certificate_and_the_runs() {
    let port = Port::of(sample::restore_agent());
    let dom = dump_dom(&format!("http://{}/", port.address), 1200);
    let verdict = between(&dom, "id=\"verdict\"", "</p>");
    assert!(verdict.ends_with("Attention"), "{verdict}");
    assert_eq!(
        text(between(&dom, "<h1>", "</h1>")),
        "The newest certified backup is 7 h old"
    );
    for heading in ["Backups", "Newest certificate", "Last runs of this agent"] {
        assert!(dom.contains(&format!("<h2>{heading}</h2>")), "{heading}");
    }
    // The browser has understood it as it was meant: six tables, each a row with its verdict.
    let tables = between(&dom, "6 tables, all equal", "</details>");
    assert_eq!(tables.matches("<span class=\"mark good\">equal</span>").count(), 6);
    assert!(tables.contains("audit.\"Events &lt;2026&gt;\""), "{tables}");
}

#[test]
fn the_pages_of_both_agents_say_that_a_certified_backup_is_well() {
    let agents = Agents::certified();
    for address in [agents.restore.address, agents.backup.address] {
        let dom = dump_dom(&format!("http://{address}/"), 1200);
        let verdict = between(&dom, "id=\"verdict\"", "</p>");
        assert!(verdict.ends_with("All is well"), "{dom}");
        assert!(text(between(&dom, "<h1>", "</h1>")).starts_with("The newest certified backup is "));
        let certificate = between(&dom, "<h2>Newest certificate</h2>", "</section>");
        assert!(
            certificate.contains("public.t") && certificate.contains("1 table, all equal"),
            "{certificate}"
        );
    }
}

#[test]
fn an_agent_that_knows_nothing_yet_shows_a_page_that_says_so() {
    let port = Port::of(sample::empty(kubebackup::http::status::AgentKind::BackupAgent));
    let dom = dump_dom(&format!("http://{}/", port.address), 1200);
    assert!(
        dom.contains("Nothing is known yet") && !dom.contains("All is well"),
        "{dom}"
    );
}

/// Nothing stands out to the right, where a phone would have to be scrolled. Browsers have no windows that are as narrow,
/// so the page is shown in a frame.
#[test]
fn a_phone_is_wide_enough() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("frame.html");
    for width in [360, 1200] {
        // The page runs no script; here one measures it.
        let measure = "<script>let root = document.documentElement; \
                       parent.document.title = `${innerWidth}, too wide by ${root.scrollWidth - root.clientWidth}`</script>";
        let page = page(&sample::backup_agent()).replace("</body>", &format!("{measure}</body>"));
        let page = page.replace('&', "&amp;").replace('"', "&quot;");
        let frame = format!("<title></title><iframe style=\"border: 0; width: {width}px\" srcdoc=\"{page}\"></iframe>");
        std::fs::write(&file, frame).unwrap();
        let dom = dump_dom(&format!("file://{}", file.display()), 1400);
        assert_eq!(between(&dom, "<title>", "</title>"), format!("{width}, too wide by 0"));
    }
}

#[track_caller]
fn between<'a>(dom: &'a str, begin: &str, end: &str) -> &'a str {
    let start = dom.find(begin).unwrap_or_else(|| panic!("no {begin} in {dom}")) + begin.len();
    &dom[start..start + dom[start..].find(end).unwrap()]
}

/// Without markup.
fn text(markup: &str) -> String {
    let pieces = markup.split('<').enumerate();
    let text = pieces.map(|(position, piece)| match piece.split_once('>') {
        Some((_, text)) if position > 0 => text,
        _ => piece,
    });
    text.collect()
}
