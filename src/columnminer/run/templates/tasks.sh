cd -- @FOLDER@ || exit 1
status=@STATUS@
redo=@REDO@
failed=0
: > "$status"

# Runs one task unless its output is there already, and notes how it ended. The others run whatever becomes of it.
task() {
  local number=$1 output=$2 result=0
  shift 2
  if [ "$redo" = no ] && [ -e "$output" ]; then
    echo "task $number: finished before"
  else
    echo "task $number: $*"
    "$@" < /dev/null || result=$?
    if [ "$result" -eq 0 ] && [ ! -e "$output" ]; then
      echo "task $number: ended well, but left no $output"
      result=1
    fi
  fi
  echo "$number $result" >> "$status"
  [ "$result" -eq 0 ] || failed=$((failed + 1))
}

@CALLS@
[ "$failed" -eq 0 ]
