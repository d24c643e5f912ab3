//! The ground that tests stand on: clusters copied from a template, an S3 server, a repository.
