//! The names that each format has for the same things.

use super::format::Format;

/// The fields of a format that hold what `name` means; the first that a line has counts. A name that
/// means nothing everywhere is a field's own.
pub(super) fn fields(format: Format, name: &str) -> Vec<String> {
    match known(format, name) {
        [] => vec![name.to_owned()],
        known => known.iter().map(|&field| field.to_owned()).collect(),
    }
}

/// The fields of a format that mean `client`, `forwarded`, `time`, `method`, `path` or `status`, if
/// they are called otherwise there.
fn known(format: Format, name: &str) -> &'static [&'static str] {
    match (format, name) {
        (Format::Combined, "client") => &["remote_addr"],
        (Format::Combined, "forwarded") => &["http_x_forwarded_for"],
        (Format::Combined, "time") => &["time_local"],
        (Format::Combined, "method") => &["request_method"],
        (Format::Combined, "path") => &["request_uri"],
        (Format::Caddy, "client") => &["request.remote_ip"],
        (Format::Caddy, "forwarded") => &["request.headers.X-Forwarded-For"],
        (Format::Caddy, "time") => &["ts"],
        (Format::Caddy, "method") => &["request.method"],
        (Format::Caddy, "path") => &["request.uri"],
        (Format::Traefik, "client") => &["ClientHost", "ClientAddr"],
        (Format::Traefik, "forwarded") => &["request_X-Forwarded-For"],
        (Format::Traefik, "time") => &["StartUTC", "time"],
        (Format::Traefik, "method") => &["RequestMethod"],
        (Format::Traefik, "path") => &["RequestPath"],
        (Format::Traefik, "status") => &["DownstreamStatus", "OriginStatus"],
        (Format::Envoy, "client") => {
            &["downstream_remote_address", "downstream_remote_address_without_port"]
        }
        (Format::Envoy, "forwarded") => &["x_forwarded_for"],
        (Format::Envoy, "time") => &["start_time", "timestamp"],
        (Format::Envoy, "status") => &["response_code"],
        (Format::Axum, "client") => {
            &["span.client_ip", "span.client", "fields.client_ip", "fields.client"]
        }
        (Format::Axum, "forwarded") => &["span.x_forwarded_for", "fields.x_forwarded_for"],
        (Format::Axum, "time") => &["timestamp"],
        (Format::Axum, "method") => &["span.method", "fields.method"],
        (Format::Axum, "path") => &["span.uri", "fields.uri"],
        (Format::Axum, "status") => &["fields.status"],
        (Format::Nginx, "client") => &["remote_addr", "client"],
        (Format::Nginx, "forwarded") => &["http_x_forwarded_for", "x_forwarded_for"],
        (Format::Nginx, "time") => &["time_iso8601", "msec", "time_local", "time", "timestamp"],
        (Format::Nginx, "method") => &["request_method", "method"],
        (Format::Nginx, "path") => &["request_uri", "uri", "path"],
        (Format::Csv, "client") => &["client", "client_ip", "remote_addr", "ip"],
        (Format::Csv, "forwarded") => &["x_forwarded_for", "http_x_forwarded_for"],
        (Format::Csv, "time") => &["time", "timestamp", "ts", "time_iso8601", "msec"],
        (Format::Csv, "method") => &["method", "request_method"],
        (Format::Csv, "path") => &["path", "uri", "request_uri", "url"],
        (Format::Csv, "status") => &["status", "status_code"],
        _ => &[],
    }
}
