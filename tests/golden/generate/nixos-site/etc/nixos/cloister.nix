# Cloister on NixOS: made by `cloister generate nixos`.
{ config, lib, pkgs, ... }:

let
  cfg = config.services.cloister;
  toml = pkgs.formats.toml { };
  settings = toml.generate "cloister.toml" cfg.settings;
in
{
  options.services.cloister = {
    enable = lib.mkEnableOption "Cloister, services in cells behind one door";
    package = lib.mkOption {
      type = lib.types.package;
      description = "The package that has bin/cloister, bin/cloister-door and bin/cloister-cell.";
    };
    settings = lib.mkOption {
      type = toml.type;
      default = { };
      example = { listeners.https.listen = "*:443"; };
      description = "What would stand in cloister.toml.";
    };
    nginxGroups = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "web" ];
      description = "Groups of sockets that nginx may connect to.";
    };
  };

  config = lib.mkIf cfg.enable {
    users.groups = lib.genAttrs cfg.nginxGroups (_: { });

    systemd.services.cloister = {
      description = "Cloister: services in cells behind one door";
      after = [ "network-online.target" "nss-user-lookup.target" ];
      wants = [ "network-online.target" ];
      wantedBy = [ "multi-user.target" ];
      serviceConfig = {
        Type = "notify";
        NotifyAccess = "main";
        WatchdogSec = "60";
        ExecStart = "${cfg.package}/bin/cloister up --log-format=json ${settings}";
        ExecReload = "${pkgs.coreutils}/bin/kill -HUP $MAINPID";
        Restart = "on-failure";
        RestartSec = "1";
        FileDescriptorStoreMax = "1024";
        KillMode = "process";
        ExecStopPost = "-/bin/sh -c 'd=$$(sed -n \"s,^0::,/sys/fs/cgroup,;s,/[.]control$$,,p\" /proc/self/cgroup); [ -n \"$$d\" ] && cd \"$$d\" && find . -depth -name cgroup.subtree_control | while read -r f; do for c in $$(cat \"$$f\"); do echo \"-$$c\" >\"$$f\"; done; done'";
        TimeoutStopSec = "60";
        Delegate = "yes";
        OOMPolicy = "continue";
        RuntimeDirectory = "cloister";
        RuntimeDirectoryMode = "0711";
        RuntimeDirectoryPreserve = "restart";
        StateDirectory = "cloister";
        LimitNOFILE = "524288";
        LockPersonality = "yes";
        NoNewPrivileges = "yes";
        ProtectClock = "yes";
        ProtectKernelModules = "yes";
        RestrictRealtime = "yes";
        SystemCallArchitectures = "native";
        UMask = "0022";
      };
    };

    # Groups are given when a service starts; nginx runs as its own user from the beginning.
    systemd.services.nginx.serviceConfig = lib.mkIf (cfg.nginxGroups != [ ]) {
      SupplementaryGroups = cfg.nginxGroups;
    };
  };
}
