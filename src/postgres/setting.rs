//! `ALTER ... SET` statements from the catalogue's `name=value` texts, and a database's own properties put back.

use tokio_postgres::Client;

use super::error::{Error, Result};
use super::privileges::privilege_statements;
use crate::content::{DatabaseProperties, RoleSetting, quote_identifier, quote_literal};

/// Settings whose value is a list of names, each quoted on its own; the catalogue holds the list already flattened.
const LISTS: &[&str] = &[
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// `<head> SET name TO value`, where `head` is `ALTER DATABASE ...` or `ALTER ROLE ...`; `None` without an `=`.
#[must_use]
pub fn set_statement(head: &str, setting: &str) -> Option<String> {
    let (name, value) = setting.split_once('=')?;
    let value = if LISTS.contains(&name) {
        let elements: Vec<String> = list_elements(value)
            .iter()
            .map(|element| quote_literal(element))
            .collect();
        if elements.is_empty() {
            "''".to_owned()
        } else {
            elements.join(", ")
        }
    } else {
        quote_literal(value)
    };
    let name: Vec<String> = name.split('.').map(quote_identifier).collect();
    Some(format!("{head} SET {} TO {value}", name.join(".")))
}

/// Gives the database called `name` the owner, privileges, comment, limit and settings of `properties`. Settings of roles
/// that do not exist on this server are returned, not set. This program's own settings are never taken over: the marker
/// that lets a database be destroyed is its owner's word, not a backup's.
///
/// # Errors
/// The server's.
pub async fn apply_database_properties(
    client: &Client,
    name: &str,
    properties: &DatabaseProperties,
    has_role: impl Fn(&str) -> bool,
) -> Result<Vec<RoleSetting>> {
    let quoted = quote_identifier(name);
    let mut statements = vec![
        format!(
            "ALTER DATABASE {quoted} OWNER TO {}",
            quote_identifier(&properties.owner)
        ),
        format!(
            "ALTER DATABASE {quoted} CONNECTION LIMIT {}",
            properties.connection_limit
        ),
    ];
    statements.extend(privilege_statements(
        &format!("DATABASE {quoted}"),
        &properties.owner,
        &properties.acl,
    ));
    if let Some(comment) = &properties.comment {
        statements.push(format!("COMMENT ON DATABASE {quoted} IS {}", quote_literal(comment)));
    }
    let mut not_set = Vec::new();
    for setting in properties.settings.iter().filter(|setting| !is_own(&setting.setting)) {
        let head = match &setting.role {
            None => format!("ALTER DATABASE {quoted}"),
            Some(role) if has_role(role) => format!("ALTER ROLE {} IN DATABASE {quoted}", quote_identifier(role)),
            Some(_) => {
                not_set.push(setting.clone());
                continue;
            }
        };
        statements.extend(set_statement(&head, &setting.setting));
    }
    for statement in statements {
        client
            .batch_execute(&statement)
            .await
            .map_err(Error::query(format!("put the properties of database {quoted} back")))?;
    }
    Ok(not_set)
}

/// Names of settings are compared without regard to case, as the server does.
fn is_own(setting: &str) -> bool {
    const PREFIX: &str = "kubebackup.";
    setting
        .get(..PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// The elements of a flattened list: names, in double quotes where they need them.
fn list_elements(value: &str) -> Vec<String> {
    let mut elements = Vec::new();
    let mut characters = value.chars().peekable();
    loop {
        while characters
            .next_if(|character| character.is_whitespace() || *character == ',')
            .is_some()
        {}
        let Some(&first) = characters.peek() else {
            return elements;
        };
        let mut element = String::new();
        if first == '"' {
            characters.next();
            while let Some(character) = characters.next() {
                if character != '"' {
                    element.push(character);
                } else if characters.next_if_eq(&'"').is_some() {
                    element.push('"');
                } else {
                    break;
                }
            }
        } else {
            while let Some(character) = characters.next_if(|character| *character != ',') {
                element.push(character);
            }
            element.truncate(element.trim_end().len());
        }
        elements.push(element);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owners_marker_is_no_setting_of_a_backup_however_it_is_spelt() {
        assert!(is_own("kubebackup.disposable=x") && is_own("KubeBackup.Disposable=x"));
        assert!(!is_own("kube=x") && !is_own("kubebackuq.disposable=x") && !is_own("é"));
    }

    #[test]
    fn a_list_keeps_its_elements_apart_and_any_other_value_is_one_literal() {
        let statement = |setting| set_statement("ALTER ROLE r", setting).unwrap();
        assert_eq!(
            statement("search_path=\"$user\", public, \"odd, \"\"name\""),
            "ALTER ROLE r SET \"search_path\" TO '$user', 'public', 'odd, \"name'"
        );
        assert_eq!(statement("search_path="), "ALTER ROLE r SET \"search_path\" TO ''");
        assert_eq!(statement("search_path=\"\""), "ALTER ROLE r SET \"search_path\" TO ''");
        assert_eq!(statement("work_mem=64MB"), "ALTER ROLE r SET \"work_mem\" TO '64MB'");
        assert_eq!(statement("my.guc=a=b"), "ALTER ROLE r SET \"my\".\"guc\" TO 'a=b'");
    }
}
