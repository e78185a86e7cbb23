"""Who may come in, and by what: certificates, keys, scopes. Knows no protocol and no model."""
