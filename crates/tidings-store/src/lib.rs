//! The only SQL: registry, message log, pages, ledger, sealed credentials.
