-- Sends the requests of a file in turn. They come whole, separated by a byte
-- that stands in none of them, so that both sides of a comparison are asked for
-- the same at the same cost.
local requests, n = {}, 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for request in file:read("*a"):gmatch("[^%z]+") do
    requests[#requests + 1] = request
  end
  file:close()
end

function request()
  n = n % #requests + 1
  return requests[n]
end

function done(summary)
  local e = summary.errors
  io.write(string.format("bench %d %d connect=%d read=%d write=%d status=%d timeout=%d\n", summary.requests, summary.duration,
    e.connect, e.read, e.write, e.status, e.timeout))
end
