# Varnish as an LL-HLS cache in front of the origin. `cdn/varnish.ts` fills in what stands in double braces.
#
# Varnish collapses by itself: who asks for an object that is being fetched waits for it and is woken when it comes. It
# asks for gzip, keeps one copy and unpacks it for who cannot read it.
vcl 4.1;
import std;
import directors;

{{backends}}

sub vcl_init {
  new origin = directors.fallback();
{{members}}
}

sub vcl_recv {
  if (req.url == "/cdn-alive") { return (synth(200)); }
  # Only what is played is reached through a CDN: not the API, not the ingest.
  # An access token before the path stays: it is not checked here, so the origin has to see it.
  if (req.url !~ "^(/t/[^/?]+)?/live/") { return (synth(404)); }
  if (req.method == "OPTIONS") { return (synth(204)); }
  if (req.method != "GET" && req.method != "HEAD") { return (synth(405)); }
  # Delivery directives choose the answer and are brought into one order; CMCD, session ids and tracking do not.
  set req.url = regsuball(req.url, "([?&])(?!_HLS_(?:msn|part|skip)=[^?&])[^?&]*", "\1");
  set req.url = regsuball(req.url, "&+", "&");
  set req.url = regsub(req.url, "\?&", "?");
  set req.url = regsub(req.url, "[?&]+$", "");
  set req.url = std.querysort(req.url);
  unset req.http.Cookie;
  unset req.http.Authorization;
  set req.http.Host = "{{origin_host}}";
  set req.backend_hint = origin.backend();
  return (hash);
}

sub vcl_backend_response {
  # Nothing is used beyond its time, not even while a newer one is being fetched.
  set beresp.grace = 0s;
  set beresp.keep = 0s;
  unset beresp.http.Set-Cookie;
  unset beresp.http.Vary;
  if ((beresp.status == 200 && beresp.http.Cache-Control ~ "no-store|no-cache|private")
    || (beresp.status != 200 && (beresp.status != 404 || beresp.http.Cache-Control !~ "max-age=[1-9]"))) {
    # Not kept, but shared by those who wait at this moment. Without any lifetime Varnish would fetch it for each of them,
    # one after the other.
    set beresp.ttl = 100ms;
  }
  return (deliver);
}

sub vcl_backend_error {
  set beresp.ttl = 100ms;
  set beresp.grace = 0s;
  set beresp.http.Cache-Control = "no-store";
  set beresp.body = "";
  return (deliver);
}

sub cross_origin {
  set resp.http.Access-Control-Allow-Origin = "*";
  set resp.http.Access-Control-Expose-Headers = "Age, Content-Length, Content-Range, Date, ETag, Retry-After";
}

sub vcl_deliver {
  call cross_origin;
  if (obj.hits > 0) { set resp.http.X-Cache-Status = "HIT"; } else { set resp.http.X-Cache-Status = "MISS"; }
  unset resp.http.Via;
  unset resp.http.X-Varnish;
  return (deliver);
}

sub vcl_synth {
  call cross_origin;
  if (resp.status == 204) {
    set resp.http.Access-Control-Allow-Methods = "GET, HEAD, OPTIONS";
    set resp.http.Access-Control-Allow-Headers = "*";
    set resp.http.Access-Control-Max-Age = "86400";
  } else {
    set resp.http.Cache-Control = "no-store";
  }
  set resp.body = "";
  return (deliver);
}
