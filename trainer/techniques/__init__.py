"""One module a config group: `name:` in a YAML is a public function here, its keyword-only parameters the options."""
