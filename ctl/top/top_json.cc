#include "ctl/top/top_json.h"

#include <cmath>

#include "protocol/json_line.h"

namespace holdfast {
namespace {

// Three digits behind the point are plenty.
double Round(double value) { return std::round(value * 1000) / 1000; }

Json Totals(const TopCounters& c) {
  return {{"connected", c.connected}, {"disconnected", c.disconnected},
          {"refused", c.refused},     {"enqueued", c.enqueued},
          {"dequeued", c.dequeued},   {"ok", c.ok},
          {"tempfail", c.tempfail},   {"permfail", c.permfail},
          {"loop", c.loop},           {"expired", c.expired},
          {"removed", c.removed},     {"bounces", c.bounces}};
}

Json Rates(const TopFigures& f) {
  return {{"connected", Round(f.connected)},
          {"refused", Round(f.refused)},
          {"enqueued", Round(f.enqueued)},
          {"dequeued", Round(f.dequeued)},
          {"ok", Round(f.ok)},
          {"tempfail", Round(f.tempfail)},
          {"permfail", Round(f.permfail)},
          {"loop", Round(f.loop)},
          {"expired", Round(f.expired)},
          {"removed", Round(f.removed)},
          {"bounces", Round(f.bounces)},
          {"commits", Round(f.commits)}};
}

Json Gauges(const TopGauges& g) {
  return {{"envelopes", g.envelopes},
          {"inflight", g.inflight},
          {"messages", g.messages},
          {"destinations", g.destinations},
          {"reports", g.reports},
          {"aside", g.aside},
          {"sessions", g.sessions},
          {"sessions_tls", g.tls},
          {"sessions_relay", g.relay_sessions},
          {"store_used_bytes", g.used_bytes},
          {"store_size_limit", g.size_limit},
          {"accepting", g.accepting},
          {"smtp_paused", g.smtp_paused},
          {"mta_paused", g.mta_paused},
          {"mda_paused", g.mda_paused}};
}

Json Destination(const TopDestination& d) {
  return {{"kind", d.kind == DeliveryKind::kMta ? "mta" : "mda"},
          {"action", d.action},
          {"destination", d.routing_key},
          {"envelopes", d.envelopes},
          {"inflight", d.inflight},
          {"failures", d.failures},
          {"first_failure", JsonTime(d.first_failure)},
          {"next", JsonTime(d.next)},
          {"oldest", JsonTime(d.oldest)},
          {"error", d.error}};
}

}  // namespace

std::string TopJson(const TopSnapshot& snapshot, const TopFigures& figures) {
  Json json = {{"time", JsonTime(snapshot.now)},
               {"started", JsonTime(snapshot.started)},
               {"seconds", Round(figures.seconds)},
               {"now", Gauges(snapshot.gauges)},
               {"total", Totals(snapshot.counters)},
               {"per_second", Rates(figures)}};
  json["commits"] = {{"operations_mean", Round(figures.operations_mean)},
                     {"operations_p99", figures.operations_p99},
                     {"ms_mean", Round(figures.ms_mean)},
                     {"ms_p50", Round(figures.ms_p50)},
                     {"ms_p99", Round(figures.ms_p99)}};
  Json destinations = Json::array();
  for (const TopDestination& d : snapshot.largest)
    destinations.push_back(Destination(d));
  json["destinations"] = std::move(destinations);
  return JsonLine(json);
}

}  // namespace holdfast
