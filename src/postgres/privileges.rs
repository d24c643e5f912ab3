//! Effective privileges (`grantee=PRIVILEGE[*]/grantor`) turned back into statements.

use crate::content::quote_identifier;

/// One privilege of one grantee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privilege<'a> {
    /// `PUBLIC` is everybody.
    pub grantee: &'a str,
    pub privilege: &'a str,
    pub grantable: bool,
    pub grantor: &'a str,
}

const PRIVILEGES: &[&str] = &[
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "TRUNCATE",
    "REFERENCES",
    "TRIGGER",
    "USAGE",
    "CREATE",
    "CONNECT",
    "TEMPORARY",
    "TEMP",
    "EXECUTE",
    "SET",
    "ALTER SYSTEM",
    "MAINTAIN",
];

/// Those that came after the oldest supported major, with the major that brought them.
const LATER_PRIVILEGES: &[(&str, u32)] = &[("MAINTAIN", 17)];

/// Whether servers of `major` know the privilege in this text. A later one has given what it brought to every owner.
#[must_use]
pub fn is_known_at(major: u32, text: &str) -> bool {
    let privilege = parse_privilege(text).map(|parsed| parsed.privilege);
    let later = LATER_PRIVILEGES.iter().find(|(name, _)| Some(*name) == privilege);
    later.is_none_or(|(_, since)| *since <= major)
}

/// Reads one text; `None` when it has another shape. Names may hold any character, so the privilege decides where it
/// is cut.
#[must_use]
pub fn parse_privilege(text: &str) -> Option<Privilege<'_>> {
    text.match_indices('=').find_map(|(position, _)| {
        let (grantee, rest) = (&text[..position], &text[position + 1..]);
        let (privilege, grantor) = rest.split_once('/')?;
        let (privilege, grantable) = match privilege.strip_suffix('*') {
            Some(privilege) => (privilege, true),
            None => (privilege, false),
        };
        PRIVILEGES.contains(&privilege).then_some(Privilege {
            grantee,
            privilege,
            grantable,
            grantor,
        })
    })
}

/// Statements after which `object` (`DATABASE "x"`, `LARGE OBJECT 1`) of `owner` has these privileges and, for the owner
/// and everybody, no others. What somebody else granted is granted again in that role's name.
#[must_use]
pub fn privilege_statements(object: &str, owner: &str, acl: &[String]) -> Vec<String> {
    let mut statements = vec![
        format!("REVOKE ALL ON {object} FROM PUBLIC"),
        format!("REVOKE ALL ON {object} FROM {}", quote_identifier(owner)),
    ];
    let mut waiting: Vec<Privilege<'_>> = acl.iter().filter_map(|text| parse_privilege(text)).collect();
    let mut can_grant: Vec<(&str, &str)> = Vec::new();
    // A grantor other than the owner must have been given the grant option first.
    while !waiting.is_empty() {
        let (ready, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|privilege| {
            privilege.grantor == owner || can_grant.contains(&(privilege.grantor, privilege.privilege))
        });
        if ready.is_empty() {
            break;
        }
        for privilege in &ready {
            statements.extend(grant(object, owner, privilege));
            if privilege.grantable {
                can_grant.push((privilege.grantee, privilege.privilege));
            }
        }
        waiting = later;
    }
    statements
}

fn grant(object: &str, owner: &str, privilege: &Privilege<'_>) -> Vec<String> {
    let grantee = match privilege.grantee {
        "PUBLIC" | "" => "PUBLIC".to_owned(),
        role => quote_identifier(role),
    };
    let option = if privilege.grantable { " WITH GRANT OPTION" } else { "" };
    let grant = format!("GRANT {} ON {object} TO {grantee}{option}", privilege.privilege);
    if privilege.grantor == owner {
        vec![grant]
    } else {
        vec![
            format!("SET SESSION AUTHORIZATION {}", quote_identifier(privilege.grantor)),
            grant,
            "RESET SESSION AUTHORIZATION".to_owned(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_privilege_decides_where_the_names_end() {
        let odd = parse_privilege("a=b=SELECT*/c/d").unwrap();
        assert_eq!((odd.grantee, odd.privilege, odd.grantor), ("a=b", "SELECT", "c/d"));
        assert!(odd.grantable);
        assert_eq!(parse_privilege("PUBLIC=CONNECT/o").unwrap().grantee, "PUBLIC");
        assert!(parse_privilege("nothing").is_none());
    }

    #[test]
    fn maintain_is_unknown_before_17() {
        let maintain = "o=MAINTAIN*/o";
        assert_eq!(
            [16, 17, 18].map(|major| is_known_at(major, maintain)),
            [false, true, true]
        );
        assert!(is_known_at(14, "o=SELECT/o") && is_known_at(14, "no privilege"));
    }

    #[test]
    fn a_grant_comes_after_the_option_to_make_it() {
        let acl = ["c=CONNECT/b".to_owned(), "b=CONNECT*/o".to_owned()];
        let statements = privilege_statements("DATABASE \"x\"", "o", &acl);
        assert_eq!(
            statements[2..],
            [
                "GRANT CONNECT ON DATABASE \"x\" TO \"b\" WITH GRANT OPTION",
                "SET SESSION AUTHORIZATION \"b\"",
                "GRANT CONNECT ON DATABASE \"x\" TO \"c\"",
                "RESET SESSION AUTHORIZATION",
            ]
        );
    }
}
