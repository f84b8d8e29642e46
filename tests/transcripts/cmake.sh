mkdir p && cd p
printf 'cmake_minimum_required(VERSION 3.13)\nproject(p C)\nadd_library(l SHARED l.c)\nadd_executable(m m.c)\ntarget_link_libraries(m l)\nenable_testing()\nadd_test(NAME runs COMMAND m)\ninstall(TARGETS m l)\n' > CMakeLists.txt
echo 'int l(void) { return 7; }' > l.c; printf '#include <stdio.h>\nint l(void);\nint main(void) { printf("%%d\\n", l()); return 0; }\n' > m.c
cmake -S . -B b | grep -vE 'compiler|Detecting|done|ABI|[0-9.]+s' ; cmake --build b 2>&1; ./b/m; (cd b && ctest 2>&1 | grep -E 'tests passed|Passed' | sed -E 's/ +[0-9.]+ sec//'); DESTDIR=/tmp/i cmake --install b > /dev/null; find /tmp/i -type f | sort; cmake -E echo hi; cmake --version | head -1; cmake -E sha256sum l.c
