//! Simulated push providers that speak the real wire protocols.
