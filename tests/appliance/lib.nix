# Stands in for nixpkgs' lib where there is none: just what the declarations of options use, and of types only the name that the
# documentation shows, in the words of NixOS. It checks no values; that is for the real module system (nixos/tests/).
let
  # A description is put in parentheses where it stands inside another and has words of its own.
  inside = type: if type.isPhrase or false then "(${type.description})" else type.description;
  simple = description: { inherit description; };
in
rec {
  isBool = builtins.isBool;
  optionalAttrs = condition: set: if condition then set else { };

  literalExpression = text: {
    _type = "literalExpression";
    inherit text;
  };

  mkOption = attributes: attributes // { _type = "option"; };
  mkEnableOption =
    name:
    mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Whether to enable ${name}.";
    };

  types = {
    anything = simple "anything";
    bool = simple "boolean";
    package = simple "package";
    path = simple "absolute path";
    port = simple "16 bit unsigned integer; between 0 and 65535 (both inclusive)";
    str = simple "string";
    strMatching = pattern: simple "string matching the pattern ${pattern}";
    ints = {
      positive = simple "positive integer, meaning >0";
      unsigned = simple "unsigned integer, meaning >=0";
    };

    enum = values: {
      description = "one of ${builtins.concatStringsSep ", " (map builtins.toJSON values)}";
      isPhrase = true;
    };
    nullOr = type: {
      description = "null or ${inside type}";
      isPhrase = true;
      # Where the options of a submodule inside are found, below the name of the option.
      below = type.below or null;
      options = type.options or { };
    };
    listOf = type: {
      description = "list of ${inside type}";
      isPhrase = true;
      below = ".*${type.below or ""}";
      options = type.options or { };
    };
    attrsOf = type: {
      description = "attribute set of ${inside type}";
      isPhrase = true;
      below = ".<name>${type.below or ""}";
      options = type.options or { };
    };
    submodule = module: {
      description = if module ? freeformType then "open submodule of (TOML value)" else "submodule";
      isPhrase = true;
      below = "";
      inherit (module) options;
    };
  };
}
