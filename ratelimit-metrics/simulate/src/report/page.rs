//! The report as one page of HTML that needs nothing from elsewhere, and runs no script.

use std::fmt::Write;

use ratelimit_core::{Micros, Timestamp};

use super::{
    CandidateReport, FrontierPoint, Report, Smallest, chart,
    format::{count, length, percent},
    table::{HEADING, notes},
};
use crate::time::show;

impl Report {
    /// The report as a page with charts, for a phone or a desk, light or dark. Each chart has its
    /// numbers as a table beside it.
    #[must_use]
    pub fn to_html(&self) -> String {
        let mut body =
            format!("<header><h1>Limits, simulated</h1><p>{}</p>", escape(self.summary().trim()));
        for note in self.log.iter().flat_map(notes) {
            let _ = write!(body, "<p class=\"note\">{}</p>", escape(&note));
        }
        body += "</header><main><section>";
        let rows: Vec<_> = self.candidates.iter().map(|one| self.row(one)).collect();
        body += &table(&HEADING, &rows);
        body += "</section>";
        for one in &self.candidates {
            body += &self.article(one);
        }
        format!("{HEAD}<style>{STYLE}</style><body>{body}</main></body></html>\n")
    }

    /// A candidate: its charts, and the tables of their numbers.
    fn article(&self, one: &CandidateReport) -> String {
        let (name, limit) = (escape(&one.name), escape(&one.limit));
        let denied = percent(one.denied, self.requests);
        let clients = percent(one.clients_denied, self.clients);
        let charts = [self.over_time(one), by_denials(one), by_headroom(one), affected(one)];
        let smallest = one.smallest.as_ref().map_or_else(String::new, smallest);
        format!(
            "<article><h2>{name} <code>{limit}</code></h2>\
             <p>{denied} of the requests denied, {clients} of the clients.</p>{}{smallest}</article>",
            charts.concat()
        )
    }

    fn over_time(&self, one: &CandidateReport) -> String {
        let time = &self.over_time;
        let at = |interval: usize| {
            let seconds = time.begin_seconds + interval as u64 * time.interval_seconds;
            show(Timestamp::from_micros(seconds.saturating_mul(1_000_000)).unwrap_or_default())
        };
        let interval = length(Micros::from_secs(time.interval_seconds));
        let most = count(time.requests.iter().copied().max().unwrap_or(0));
        let chart = chart::stacked(
            &time.requests,
            &one.denied_over_time,
            &format!("Requests admitted and denied, in intervals of {interval}"),
        );
        let counts = time.requests.iter().zip(&one.denied_over_time).enumerate();
        let rows: Vec<_> = counts
            .filter(|(_, (requests, _))| 0 < **requests)
            .map(|(place, (requests, denied))| {
                [at(place), count(requests - denied), count(*denied)]
            })
            .collect();
        figure(
            &format!(
                "Requests over time, {most} in {interval} at most: \
                 <b class=\"admitted\">admitted</b>, <b class=\"denied\">denied</b>"
            ),
            &chart,
            &[&at(0), &at(time.requests.len())],
            &table(&["from", "admitted", "denied"], &rows),
        )
    }
}

fn by_denials(one: &CandidateReport) -> String {
    let labels = ["none", "1", "2–9", "10–99", "100–999", "1000+"];
    let counts = &one.clients_by_denials;
    let chart = chart::bars(counts, &labels, 1, "Clients by denied requests");
    bins(
        "Clients by how many of their requests are denied",
        "denied requests",
        &chart,
        &labels,
        counts,
    )
}

fn by_headroom(one: &CandidateReport) -> String {
    let labels = ["0%", "10%", "20%", "30%", "40%", "50%", "60%", "70%", "80%", "90%"];
    let counts = &one.clients_by_headroom;
    let chart = chart::bars(counts, &labels, labels.len(), "Clients by what they had left");
    let caption =
        "Headroom: clients never denied, by the share of the limit that they always had left";
    bins(caption, "at least left", &chart, &labels, counts)
}

/// A chart of bars, each with its label; the height of a bar is the root of its count.
fn bins(caption: &str, what: &str, chart: &str, labels: &[&str], counts: &[u64]) -> String {
    let rows: Vec<_> =
        labels.iter().zip(counts).map(|(label, n)| [(*label).to_owned(), count(*n)]).collect();
    let caption = format!("{caption} (height: square root)");
    figure(&caption, chart, labels, &table(&[what, "clients"], &rows))
}

fn affected(one: &CandidateReport) -> String {
    if one.most_affected.is_empty() {
        return String::new();
    }
    let row = |client: &super::Affected| {
        let [requests, denied] = [client.requests, client.denied].map(count);
        [client.client.clone(), requests, denied, length(client.longest_denial)]
    };
    let rows: Vec<_> = one.most_affected.iter().map(row).collect();
    let table = table(&["client", "requests", "denied", "longest denial"], &rows);
    format!("<figure><figcaption>Clients most affected</figcaption>{table}</figure>")
}

#[expect(clippy::cast_precision_loss, reason = "to show to people")]
fn smallest(smallest: &Smallest) -> String {
    let share = escape(&smallest.deny_at_most);
    let none = || "larger than can be told".to_owned();
    let limit = escape(&smallest.limit.clone().unwrap_or_else(none));
    let begin = format!(
        "<figure><figcaption>Smallest limit that denies at most {share} of the clients</figcaption>\
         <p><code>{limit}</code></p>"
    );
    let end = "</figure>";
    let known = |point: &&FrontierPoint| point.size.is_some();
    let known: Vec<_> = smallest.frontier.iter().filter(known).collect();
    let ([first, ..], [.., last]) = (&*known, &*known) else { return begin + end };
    let points: Vec<_> =
        known.iter().map(|point| (point.per_second, point.size.unwrap_or(1) as f64)).collect();
    let marked = known.iter().position(|point| smallest.rate.as_ref() == Some(&point.rate));
    let chart = chart::line(&points, marked, "The smallest size at each rate");
    let row = |point: &FrontierPoint| [point.rate.clone(), point.size.map_or_else(none, count)];
    let rows: Vec<_> = smallest.frontier.iter().map(row).collect();
    let [most, least] = [first, last].map(|point| count(point.size.unwrap_or(1)));
    let caption = format!(
        "Frontier: the smallest size (from {most} down to {least}) at each rate, both logarithmic; \
         <b class=\"denied\">marked</b>: the slowest rate at this size"
    );
    let frontier = drawing(
        &caption,
        &chart,
        &[&first.rate, &last.rate],
        &table(&["rate", "smallest size"], &rows),
    );
    begin + &frontier + end
}

/// A chart with its caption, the labels of its horizontal axis, and the table of its numbers.
fn figure(caption: &str, chart: &str, labels: &[&str], table: &str) -> String {
    format!("<figure>{}</figure>", drawing(caption, chart, labels, table))
}

fn drawing(caption: &str, chart: &str, labels: &[&str], table: &str) -> String {
    let labels: String =
        labels.iter().map(|label| format!("<span>{}</span>", escape(label))).collect();
    format!(
        "<div class=\"caption\">{caption}</div>{chart}<div class=\"axis\">{labels}</div>\
         <details><summary>As a table</summary>{table}</details>"
    )
}

fn table<const N: usize>(heading: &[&str; N], rows: &[[String; N]]) -> String {
    let cells = |tag: &str, cells: &[String]| -> String {
        cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect()
    };
    let heading = cells("th", &heading.map(str::to_owned));
    let rows: String = rows.iter().map(|row| format!("<tr>{}</tr>", cells("td", row))).collect();
    format!(
        "<div class=\"scroll\"><table><thead><tr>{heading}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

/// Text that is no markup: names of clients come from strangers.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The policy forbids whatever the page does not have: scripts, images, connections.
const HEAD: &str = "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
    <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
    <title>Limits, simulated</title>";

const STYLE: &str = include_str!("page.css");
