//! Credentials and region as the AWS SDK finds them: environment, profile, web identity, container role, or nothing.
//!
//! A process's environment cannot be changed safely while tests run beside each other: so this binary runs itself, one
//! test alone, in an environment of its own.
