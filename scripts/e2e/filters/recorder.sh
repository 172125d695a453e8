#!/bin/sh
# As recorder.py, in the shell:  recorder.sh FILE [PHASE=DECISION]...
record=$1
shift

say() {
	printf '> %s\n' "$1" >> "$record"
	printf '%s\n' "$1"
}

# decision PHASE [PHASE=DECISION]...
decision() {
	wanted=$1
	shift
	for word in "$@"; do
		case $word in "$wanted="*) printf '%s\n' "${word#*=}"; return ;; esac
	done
	echo proceed
}

while IFS= read -r line; do
	printf '< %s\n' "$line" >> "$record"
	case $line in
	'config|ready')
		say 'register|report|smtp-in|*'
		say 'register|report|smtp-out|*'
		for phase in connect helo ehlo starttls auth mail-from rcpt-to data \
		    data-line commit rset quit noop; do
			say "register|filter|smtp-in|$phase"
		done
		say 'register|ready'
		;;
	'filter|'*)
		rest=${line#*|*|*|*|}
		phase=${rest%%|*}
		rest=${rest#*|}
		session=${rest%%|*}
		rest=${rest#*|}
		token=${rest%%|*}
		case $phase in
		data-line) say "filter-dataline|$session|$token|${rest#*|}" ;;
		*) say "filter-result|$session|$token|$(decision "$phase" "$@")" ;;
		esac
		;;
	esac
done
