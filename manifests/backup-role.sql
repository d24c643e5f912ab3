-- The role that takes backups: it may log in and read everything, and nothing else. Run it once per cluster as a superuser:
--
--     psql -d postgres -f backup-role.sql                  (the role is named kubebackup)
--     psql -d postgres -v role=another -f backup-role.sql
--     psql -d postgres -c '\password kubebackup'
--
-- `kubebackup check` says whether anything is missing. Running the script again changes nothing.
\set ON_ERROR_STOP on
\if :{?role}
\else
    \set role kubebackup
\endif

SELECT pg_catalog.format('CREATE ROLE %I', :'role')
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = :'role') \gexec

-- BYPASSRLS: a backup holds every row. Leave it out where no table has row-level security; without it such a table is
-- refused before a backup begins, never stored in part.
ALTER ROLE :"role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS;

-- SELECT on all tables, views, sequences and large objects, USAGE on all schemas (PostgreSQL 14 and later).
GRANT pg_read_all_data TO :"role";

-- Since when a session holds a lock that the backup could not get; the error says it. Nothing else needs it.
GRANT pg_read_all_stats TO :"role";

-- The server's words to pg_dump, which tells no SQLSTATE, are understood in English alone; in other sessions nothing changes.
SELECT pg_catalog.format('ALTER ROLE %I SET lc_messages = %L', :'role', 'C')
WHERE pg_catalog.current_setting('is_superuser') = 'on' \gexec

-- Where CONNECT has been taken from PUBLIC.
SELECT pg_catalog.format('GRANT CONNECT ON DATABASE %I TO %I', datname, :'role') FROM pg_catalog.pg_database
WHERE datallowconn AND NOT datistemplate AND NOT pg_catalog.has_database_privilege(:'role', oid, 'CONNECT') \gexec
