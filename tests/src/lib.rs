//! Black-box tests over the wire, and the house rules as tests.
