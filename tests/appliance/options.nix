# Every option that the module declares, as plain data. Only the declarations are looked at, so neither nixpkgs nor a
# configuration is needed.
{ module }:

let
  lib = import ./lib.nix;
  absent = name: throw "the declaration of an option needs ${name}: give it a defaultText";
  arguments = {
    inherit lib;
    config = absent "config";
    pkgs = absent "pkgs";
    options = absent "options";
    modulesPath = absent "modulesPath";
  };

  load = file: if builtins.isFunction (import file) then import file arguments else import file;

  # Modules below a file, itself included.
  modulesOf = file: [ (load file) ] ++ builtins.concatMap modulesOf (load file).imports or [ ];

  isOption = value: value._type or null == "option";

  listed =
    prefix: set:
    builtins.concatMap (
      name:
      let
        value = set.${name};
        path = if prefix == "" then name else "${prefix}.${name}";
      in
      if isOption value then
        [ (described path value) ] ++ listed "${path}${value.type.below or ""}" (value.type.options or { })
      else
        listed path value
    ) (builtins.attrNames set);

  described =
    name: option:
    {
      inherit name;
      type = option.type.description;
      description = option.description or "";
      isInternal = option.internal or false;
    }
    // (
      if option ? defaultText || option ? default then
        { default = option.defaultText or option.default; }
      else
        { }
    )
    // (if option ? example then { inherit (option) example; } else { });
in
builtins.concatMap (module: listed "" (module.options or { })) (modulesOf module)
