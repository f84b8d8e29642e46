# tmux: a server on a Unix socket, sessions, windows, what is on them, keys, and its end.
export LANG=C.UTF-8 TERM=screen
unset TMUX
t() { tmux -f /dev/null -L test "$@"; }
t new-session -d -s one -x 80 -y 24 'PS1="$ " exec bash --norc --noprofile'
t set-option -g automatic-rename off
t has-session -t one; echo "has: $?"
t has-session -t two 2>/dev/null; echo "has: $?"
t list-sessions -F '#{session_name} #{session_windows} #{window_width}x#{window_height}'
t send-keys -t one 'echo in tmux; tty | cut -d/ -f1-3' Enter
for i in $(seq 100); do t capture-pane -p -t one | grep -q '^/dev/pts' && break; sleep 0.1; done
t capture-pane -p -t one | sed '/^$/d'
t split-window -t one 'exec cat'
t list-panes -t one -F '#{pane_index} #{pane_height} #{pane_current_command}'
t send-keys -t one:0.1 'typed' Enter
for i in $(seq 100); do [ $(t capture-pane -p -t one:0.1 | grep -c typed) = 2 ] && break; sleep 0.1; done
t capture-pane -p -t one:0.1 | sed '/^$/d'
t new-window -t one -n second 'echo second window; exec sleep 100'
t list-windows -t one -F '#{window_index} #{window_name} #{window_panes}'
t set-buffer 'some text'; t show-buffer; echo
t kill-session -t one; t list-sessions 2>&1 | sed 's/ (.*//'
