# What nginx does for the service, as text: a function of plain values that needs no nixpkgs, so that tests can put the very
# same text before an nginx of their own (tests/appliance/). ../nginx.nix makes a virtual host of it.
{
  # Address and port of the service.
  upstream,
  # Folder with the SDK's files, each compressed beside itself.
  sdk,
  # Requests in a second that one client may send.
  apiRequestsPerSecond,
  eventRequestsPerSecond,
  # Limits of the service: nginx refuses a body at the same size, and waits a little longer for an answer.
  bodyBytesMax,
  requestTimeoutSeconds,
  # File that names the clients that were refused.
  refusedLog,
}:

let
  lines = builtins.concatStringsSep "\n";
  mapToLines = function: set: lines (builtins.attrValues (builtins.mapAttrs function set));

  # Headers of every answer. The service sends some of them itself, its pages a policy of their own: then that one counts.
  defaultHeaders = {
    # Nothing but a page has scripts, styles or images, and pages bring their own policy.
    Content-Security-Policy = "default-src 'none'; frame-ancestors 'none'";
    Permissions-Policy = "camera=(), geolocation=(), microphone=()";
    Referrer-Policy = "strict-origin-when-cross-origin";
    X-Content-Type-Options = "nosniff";
    X-Frame-Options = "DENY";
  };

  # Content-Security-Policy is content_security_policy in the names of variables.
  toVariable = builtins.replaceStrings [ "-" ] [ "_" ];

  headerMap = name: default: ''
    map $upstream_http_${toVariable name} $journey_${toVariable name} {
      default $upstream_http_${toVariable name};
      "" "${default}";
    }'';

  # A level with an add_header of its own inherits none from the level above: each such level has to repeat these.
  headers = ''
    # A year. Without includeSubDomains, since other hosts below this name may not be ours.
    add_header Strict-Transport-Security "max-age=31536000" always;
    add_header X-Request-Id $journey_request_id always;
  ''
  + mapToLines (name: _: "add_header ${name} $journey_${toVariable name} always;") defaultHeaders;

  # Released scripts and their maps, /sdk/0.1.0/customer-journey.min.js, and those of the current version without number.
  # Its capture has a name, since $1 is by then that of whichever map was looked at last.
  sdkFile = ''/sdk/(?<journey_sdk_file>([0-9][^/]*/)?customer-journey\.min\.js(\.map)?)'';

  # What nginx answers itself, in the same form as the service (src/http/problem.rs). A page of any origin may read these: they
  # tell nothing but that, and a script that could not see Retry-After would come back at once.
  problems = {
    body_too_large = {
      status = 413;
      title = "Payload Too Large";
      detail = "The body is larger than this service takes.";
    };
    too_many_requests = {
      status = 429;
      title = "Too Many Requests";
      detail = "This address sends more requests than it may. Try again later, and more slowly.";
      # The limits are counted in seconds, and after one there is room again.
      retryAfterSeconds = 1;
    };
    internal = {
      status = 500;
      title = "Internal Server Error";
      detail = "Something went wrong here. The log of nginx has the cause.";
    };
    service_unavailable = {
      status = 502;
      title = "Bad Gateway";
      detail = "The service does not answer at the moment. Try again soon.";
      # A restart of the service takes about as long; src/http/problem.rs says the same.
      retryAfterSeconds = 5;
    };
    service_timeout = {
      status = 504;
      title = "Gateway Timeout";
      detail = "The answer took too long. Ask for less, or try again later.";
      retryAfterSeconds = 5;
    };
  };

  problemAnswer =
    code:
    {
      status,
      title,
      detail,
      retryAfterSeconds ? null,
    }:
    let
      document = builtins.toJSON {
        type = "urn:customer-journey:problem:${code}";
        inherit
          code
          detail
          status
          title
          ;
        instance = "$journey_request_id";
      };
      retryAfter =
        if retryAfterSeconds == null then
          ""
        else
          "\nadd_header Retry-After ${toString retryAfterSeconds} always;";
    in
    ''
      default_type application/problem+json;
      ${headers}
      add_header Access-Control-Allow-Origin * always;
      add_header Access-Control-Expose-Headers "x-request-id,retry-after" always;
      add_header Cache-Control no-store always;${retryAfter}
      return ${toString status} '${document}';'';

  problemLocation = code: problem: {
    name = "@journey_${code}";
    value = problemAnswer code problem;
  };
  problemLocations = builtins.listToAttrs (
    builtins.attrValues (builtins.mapAttrs problemLocation problems)
  );

  errorPages = mapToLines (
    code: { status, ... }: "error_page ${toString status} @journey_${code};"
  ) problems;
in
{
  # For the level of http, beside what other sites of the same nginx may have: every name begins with journey.
  http = ''
    upstream customer_journey {
      server ${upstream};
      keepalive 32;
    }

    # An id from outside is passed on when the service would take it (src/http/observe.rs); it stands in logs and in JSON.
    map $http_x_request_id $journey_request_id {
      default $request_id;
      "~^[A-Za-z0-9_.:-]{1,64}$" $http_x_request_id;
    }

    # Who counts as one client: an IPv4 address, or the /64 of an IPv6 address, in which a single line can choose freely. An
    # IPv4 address that comes through an IPv6 socket is one, not part of a network that all of them share.
    map $binary_remote_addr $journey_client {
      default $binary_remote_addr;
      "~(?s)^\x00{10}\xff\xff(?<journey_mapped>.{4})$" $journey_mapped;
      "~(?s)^(?<journey_network>.{8}).{8}$" $journey_network;
    }

    # Visitors of sites load the script and send events; reading events, at the same address, is the API as all the rest is.
    map "$request_method $uri" $journey_traffic {
      default api;
      "~^(POST|OPTIONS) /api/v1/events(/|$)" visitors;
      "~^(GET|HEAD) ${sdkFile}$" visitors;
    }
    # What has no key in a zone is not counted there.
    map $journey_traffic $journey_api_client {
      default "";
      api $journey_client;
    }
    map $journey_traffic $journey_visitors_client {
      default "";
      visitors $journey_client;
    }
    # 10 MB hold about 80 000 clients.
    limit_req_zone $journey_api_client zone=journey_api:10m rate=${toString apiRequestsPerSecond}r/s;
    limit_req_zone $journey_visitors_client zone=journey_visitors:10m rate=${toString eventRequestsPerSecond}r/s;

    # Addresses are personal data, so ordinary requests are not logged here: the service counts them, without addresses. This
    # is for the level of http since the redirect from port 80 is a server of its own.
    access_log off;
    # Who is refused is: fail2ban bans the addresses that do not stop (nixos/fail2ban/customer-journey.conf). No 401 of a
    # visitor, since it is not the visitor who put an old key into the page; and no 403, which comes from the settings of a key
    # that is valid. Nothing in a line is the client's choice.
    map "$status $journey_traffic" $journey_is_refused {
      default 0;
      "401 api" 1;
      "429 api" 1;
      "429 visitors" 1;
    }
    log_format journey_refused "$time_iso8601 $remote_addr $status $journey_traffic";

    ${mapToLines headerMap defaultHeaders}

    # Only a released version never changes.
    map $uri $journey_sdk_caching {
      default "public, max-age=3600, stale-while-revalidate=86400";
      "~^/sdk/[0-9]" "public, max-age=31536000, immutable";
    }
    # ECMA-426 names the header; the map lies beside its script.
    map $uri $journey_sdk_map {
      default "";
      "~\.js$" customer-journey.min.js.map;
    }
  '';

  # For the level of server.
  server = ''
    server_tokens off;
    ${headers}

    # A burst of a second's worth is let through at once: a page asks for many things at the same time.
    limit_req zone=journey_api burst=${toString apiRequestsPerSecond} nodelay;
    limit_req zone=journey_visitors burst=${toString eventRequestsPerSecond} nodelay;
    limit_req_status 429;
    # Each complaint names an address and what was asked. That the service is away, its own unit says; that a client sent too
    # much, nobody needs to know.
    error_log stderr crit;
    access_log ${refusedLog} journey_refused if=$journey_is_refused;

    client_max_body_size ${toString bodyBytesMax};
    # No events on disk where it can be helped: browsers send 64 KiB at most when a page ends.
    client_body_buffer_size 64k;

    # The service compresses what it can for those who ask; this is for the rest.
    gzip on;
    gzip_vary on;
    gzip_proxied any;
    gzip_min_length 256;
    gzip_types application/json application/problem+json application/javascript text/javascript text/css text/plain
      text/csv image/svg+xml;

    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    # Not $proxy_add_x_forwarded_for, which begins with what the client claims. The service trusts one hop: this one.
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Request-Id $journey_request_id;
    proxy_connect_timeout 5s;
    proxy_send_timeout 60s;
    # The service gives up before, with an answer that says so.
    proxy_read_timeout ${toString (requestTimeoutSeconds + 15)}s;
    # An export larger than the buffers waits for its reader instead of filling a disk.
    proxy_max_temp_file_size 0;
    # These come from here, once.
    proxy_hide_header X-Request-Id;
    ${mapToLines (name: _: "proxy_hide_header ${name};") defaultHeaders}

    ${errorPages}
  '';

  locations = problemLocations // {
    "/" = "proxy_pass http://customer_journey;";

    # For the machine itself and who gets in there: http://127.0.0.1:8030/metrics.
    "= /metrics" = problemAnswer "route_not_found" {
      status = 404;
      title = "Not Found";
      detail = "There is nothing at this path. The list of paths is at /docs.";
    };

    # The same answers as src/http/sdk_files.rs gives. What is not in the folder, the service answers.
    "~ ^${sdkFile}$" = ''
      alias ${sdk}/$journey_sdk_file;
      error_page 403 404 405 = @journey_service;
      types {
        "text/javascript; charset=utf-8" js;
        application/json map;
      }
      gzip_static on;
      # In the store every file is of 1970; nixpkgs' nginx makes the entity tag of the store path's hash instead.
      if_modified_since off;
      add_header Last-Modified "";
      ${headers}
      add_header Access-Control-Allow-Origin * always;
      add_header Cross-Origin-Resource-Policy cross-origin always;
      add_header Timing-Allow-Origin * always;
      add_header Cache-Control $journey_sdk_caching;
      add_header SourceMap $journey_sdk_map;
    '';
    "@journey_service" = "proxy_pass http://customer_journey;";
  };
}
