//! A lane of deliveries to one provider: bounded queue, retry, breaker, drain.
