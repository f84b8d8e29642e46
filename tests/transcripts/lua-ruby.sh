cat > t.lua <<'END'
local t = {} for i = 1, 10 do t[#t + 1] = i * i end print(table.concat(t, ","), #t, _VERSION, 7 // 2, 7 / 2, 2 ^ 53, 1 << 62, math.maxinteger, 0x7fffffffffffffff + 1 == math.mininteger)
print(string.format("%5.2f|%q|%x", math.pi, "a\nb", 255), ("hello"):gsub("l", "L"), ("key=val"):match("(%w+)=(%w+)"), utf8.len("über"), os.date("!%F", 0), (pcall(error, { 1 })))
local co = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) print(co(), co(), co()) local f = io.open("x", "w") f:write("l1\nl2\n") f:close() for l in io.lines("x") do io.write(l, ";") end print(io.popen("echo popen"):read(), os.execute("exit 3"))
print(select("#", table.unpack({ 1, 2, 3 })), setmetatable({}, { __index = function(_, k) return k .. "!" end }).foo, os.getenv("HOME"), string.pack("<i4", 100):byte(1, -1)) local s = 0 for i = 1, 1e6 do s = s + i % 7 end print(s) goto done ::done:: os.exit(5)
END
lua5.4 t.lua; echo $?; lua5.4 -e 'error("x")'; echo $?; luac5.4 -p t.lua && echo compiled
cat > t.rb <<'END'
puts [3, 1, 2].sort.map { |x| x * 2 }.inspect, "a-b".tr("-", "_"), 2**100, 10.fdiv(3), (1..10).each_slice(3).to_a.inspect, "%05.1f" % 3.14159, "über".length, :sym.to_proc.call("x") rescue puts $!.class
h = { a: 1, "b" => [nil, true] }; puts h, h.to_a.flatten.compact.inspect; Point = Struct.new(:x, :y); p Point.new(1, 2); puts [1, [2, [3]]].flatten.sum, "abc" =~ /c/, $~[0], 1.0 / 0, 0.1 + 0.2, 255.to_s(2), Rational(1, 3) + 1, Complex(1, 2) ** 2
def fib(n) = n < 2 ? n : fib(n - 1) + fib(n - 2)
puts fib(18); t = 4.times.map { |i| Thread.new { i * i } }; p t.map(&:value); q = Queue.new; th = Thread.new { 3.times.map { q.pop } }; 3.times { |i| q << i }; p th.value; m = Mutex.new; n = 0; 4.times.map { Thread.new { 100.times { m.synchronize { n += 1 } } } }.each(&:join); p n
r, w = IO.pipe; pid = fork { w.puts "child"; exit! 7 }; Process.wait pid; p r.gets, $?.exitstatus; p `echo sub`.chomp, system("exit 2"), $?.exitstatus; Signal.trap("USR1") { puts "usr1" }; Process.kill "USR1", Process.pid; sleep 0.05; f = Fiber.new { Fiber.yield 1; 2 }; p f.resume, f.resume
File.write "f", "one\ntwo\n"; p File.readlines("f", chomp: true), File.stat("f").size, Dir.children(".").sort.first(2), Time.at(0).utc.to_s, File.symlink?("f"); require "json"; require "digest"; require "set"; puts JSON.generate({ a: [1, nil] }), Digest::SHA256.hexdigest("x")[0, 8], Set[1, 2, 2].size; begin; raise ArgumentError, "bad"; rescue => e; puts e.full_message(highlight: false).lines.first; ensure puts "ensure"; end
begin; Timeout; rescue NameError; require "timeout"; end; begin; Timeout.timeout(0.1) { sleep 5 }; rescue Timeout::Error; puts "timeout"; end; a = (1..200_000).reduce(:+); p a, GC.count >= 0, ObjectSpace.count_objects.key?(:TOTAL); require "socket"; s1, s2 = UNIXSocket.pair; s1.write "pair"; p s2.recv(4); require "pty"; PTY.spawn("echo tty") { |o, _, _| p o.gets }; require "open3"; p Open3.capture2("cat", stdin_data: "x")[0]; Process.daemon(true, true) if false; at_exit { puts "bye" }; exit 3
END
ruby t.rb; echo $?; ruby -e 'raise "x"' 2>&1 | head -1; ruby -ne 'puts $_ if /root/' /etc/passwd; ruby -ryaml -e 'puts({ "a" => [1, 2] }.to_yaml)'; ruby --version | cut -d' ' -f1-2; erb <<< '<%= 1 + 1 %>'
