-- Judges and changes counters as Rule of package guard does, function by function: what they mean
-- is written there.
--
-- A counter is a hash of text: used; times (microseconds since 1970, in the order in which they
-- were taken, with commas); locked and dead (microseconds, 0 for not at all, -1 for without end);
-- limit; and its tag: kind, lock (1 or 0), account, network. One that holds nothing is not there.
--
-- KEYS are counters. ARGV[1] is the deed and ARGV[2] its moment in microseconds. "forget" goes on
-- with account, network and locks of a Filter. The others have for each counter: aging, limit,
-- period, tiers, prolong, monitor, ends, clear, kind, lock, account, network. "reserve" and "look"
-- return four numbers for each: refused, locks, used, until.

local WIDTH = 12
local WINDOW, SLIDING = 0, 1
local FOREVER = math.huge
-- A key stays for a minute after its counter is dead, since the clocks of nodes differ.
local SLACK = 60 * 1000 * 1000

local function number(text)
	local n = tonumber(text)
	if not n then
		error('"' .. tostring(text) .. '" is no number')
	end
	return n
end

local function moment(text)
	local n = number(text)
	return n == -1 and FOREVER or n
end

-- text is digits alone: a number of Lua would be written with an exponent.
local function text(moment)
	return moment == FOREVER and '-1' or string.format('%.0f', moment)
end

local function after(moment, period)
	return period == 0 and FOREVER or moment + period
end

local function latest(times)
	local t = 0
	for _, other in ipairs(times) do
		t = math.max(t, other)
	end
	return t
end

local function is_window(r)
	return r.aging == WINDOW and #r.tiers == 0
end

local function lock(r, n)
	if #r.tiers == 0 then
		return r.period, n >= r.limit
	end
	local period, locks = 0, false
	for _, tier in ipairs(r.tiers) do
		if n >= tier.limit then
			period, locks = tier.period, true
		end
	end
	return period, locks
end

local function most(r)
	return #r.tiers > 0 and r.tiers[#r.tiers].limit or math.max(1, r.limit)
end

local function longest(r)
	if #r.tiers == 0 then
		return r.period
	end
	local period = 0
	for _, tier in ipairs(r.tiers) do
		if tier.period == 0 then
			return 0
		end
		period = math.max(period, tier.period)
	end
	return period
end

local function take_of_window(r, c, now)
	local used = now < r.ends and c.used or 0
	if used >= r.limit then
		return {used = used, times = {}, locked = 0}, {refused = true, used = used, till = r.ends}
	end
	return {used = used + 1, times = {}, locked = 0}, {used = used + 1, till = 0}
end

local function take_while_locked(r, c, now)
	local locked = c.locked
	if r.prolong then
		locked = math.max(locked, after(now, (lock(r, #c.times))))
	end
	return {used = c.used, times = c.times, locked = locked}, {refused = not r.monitor, used = #c.times, till = locked}
end

local function remembered(r, c, now)
	if c.locked ~= 0 and #r.tiers == 0 then
		return {}
	end
	local period = longest(r)
	local each = r.aging == SLIDING and #r.tiers == 0
	if not each and now >= after(latest(c.times), period) then
		return {}
	end
	local times = {}
	for _, t in ipairs(c.times) do
		if not each or now < after(t, period) then
			times[#times + 1] = t
		end
	end
	return times
end

local function take(r, c, now)
	if is_window(r) then
		return take_of_window(r, c, now)
	end
	if now < c.locked then
		return take_while_locked(r, c, now)
	end
	local times = remembered(r, c, now)
	times[#times + 1] = now
	while #times > most(r) do
		table.remove(times, 1)
	end
	local taken, o = {used = 0, times = times, locked = 0}, {used = #times, till = 0}
	local period, locks = lock(r, #times)
	if locks then
		taken.locked = after(now, period)
		o.locks, o.till = true, taken.locked
	end
	return taken, o
end

local function give(r, c, at)
	if is_window(r) then
		return {used = math.max(0, c.used - 1), times = c.times, locked = c.locked}
	end
	local i = #c.times
	while i > 0 and c.times[i] ~= at do
		i = i - 1
	end
	if i == 0 then
		return c
	end
	local times = {}
	for j, t in ipairs(c.times) do
		if j ~= i then
			times[#times + 1] = t
		end
	end
	return {used = c.used, times = times, locked = i < #c.times and c.locked or 0}
end

local function dead(r, c)
	if is_window(r) then
		return c.used == 0 and 0 or r.ends
	end
	if #c.times == 0 then
		return c.locked
	end
	return math.max(c.locked, after(latest(c.times), longest(r)))
end

-- load returns one that was never taken where there is none.
local function load(key)
	local f = redis.call('HMGET', key, 'used', 'times', 'locked')
	local c = {used = 0, times = {}, locked = 0}
	if not f[1] then
		return c
	end
	c.used, c.locked = number(f[1]), moment(f[3])
	for at in string.gmatch(f[2] or error('times are missing'), '[^,]+') do
		c.times[#c.times + 1] = number(at)
	end
	return c
end

local function save(key, r, c, now)
	local dies = dead(r, c)
	if dies == 0 then
		redis.call('DEL', key)
		return
	end
	local times = {}
	for i, t in ipairs(c.times) do
		times[i] = text(t)
	end
	redis.call('HSET', key, 'used', text(c.used), 'times', table.concat(times, ','),
		'locked', text(c.locked), 'dead', text(dies), 'limit', text(r.limit),
		'kind', r.kind, 'lock', r.lock, 'account', r.account, 'network', r.network)
	if dies == FOREVER then
		redis.call('PERSIST', key)
	else
		-- How long it is until then is told by the caller's clock, not by this server's.
		redis.call('PEXPIRE', key, text(math.ceil((math.max(0, dies - now) + SLACK) / 1000)))
	end
end

local function rule(i)
	local a = 2 + (i - 1) * WIDTH
	local r = {
		aging = number(ARGV[a + 1]), limit = number(ARGV[a + 2]), period = number(ARGV[a + 3]), tiers = {},
		prolong = ARGV[a + 5] == '1', monitor = ARGV[a + 6] == '1', ends = moment(ARGV[a + 7]), clear = ARGV[a + 8] == '1',
		kind = ARGV[a + 9], lock = ARGV[a + 10], account = ARGV[a + 11], network = ARGV[a + 12],
	}
	for limit, period in string.gmatch(ARGV[a + 4], '(%d+):(%d+)') do
		r.tiers[#r.tiers + 1] = {limit = number(limit), period = number(period)}
	end
	return r
end

-- judge takes a place in every counter, or in none of them where one refuses. A key may be there
-- twice, so that what becomes of it is kept by its name.
local function judge(now, write)
	local was, is, rules, answer, refused = {}, {}, {}, {}, false
	for i, key in ipairs(KEYS) do
		local r = rule(i)
		was[key] = was[key] or load(key)
		local taken, o = take(r, is[key] or was[key], now)
		if o.refused and not refused then
			refused, is = true, {}
		end
		if not refused or o.refused and taken.locked ~= was[key].locked then
			is[key], rules[key] = taken, r
		end
		answer[#answer + 1] = o.refused and 1 or 0
		answer[#answer + 1] = o.locks and 1 or 0
		answer[#answer + 1] = o.used
		answer[#answer + 1] = o.till == FOREVER and -1 or o.till
	end
	if write then
		for key, c in pairs(is) do
			save(key, rules[key], c, now)
		end
	end
	return answer
end

local function release(at)
	local counters, rules = {}, {}
	for i, key in ipairs(KEYS) do
		local r, c = rule(i), counters[key] or load(key)
		local left = r.clear and {used = 0, times = {}, locked = 0} or give(r, c, at)
		if left ~= c then
			counters[key], rules[key] = left, r
		end
	end
	for key, r in pairs(rules) do
		save(key, r, counters[key], at)
	end
	return #KEYS
end

local function forget(now)
	local account, network, locks = ARGV[3], ARGV[4], ARGV[5] == '1'
	local held = 0
	for _, key in ipairs(KEYS) do
		local f = redis.call('HMGET', key, 'account', 'network', 'lock', 'dead')
		local matches = f[4] and (account == '' or account == f[1]) and (network == '' or network == f[2])
			and (not locks or f[3] == '1')
		if matches then
			if now < moment(f[4]) then
				held = held + 1
			end
			redis.call('DEL', key)
		end
	end
	return held
end

local deed, now = ARGV[1], number(ARGV[2])
if deed == 'forget' then
	return forget(now)
elseif deed == 'release' then
	return release(now)
end
return judge(now, deed == 'reserve')
