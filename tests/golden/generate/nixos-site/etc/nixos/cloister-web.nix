# A site before a socket of Cloister's: made by `cloister generate nixos`.
{ ... }:

{
  services.cloister.nginxGroups = [ "web" ];

  services.nginx.enable = true;
  services.nginx.virtualHosts."blog.example.org".locations."/" = {
    proxyPass = "http://unix:/run/web/web.sock";
    proxyWebsockets = true;
    recommendedProxySettings = true;
  };
}
