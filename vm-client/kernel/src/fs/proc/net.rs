//! /proc/PID/net: a machine without interfaces has tables without rows.

use crate::fs::generated::{Fixed, constant};

pub(super) const NET: &[Fixed] = &[
    constant!("arp", "IP address       HW type     Flags       HW address            Mask     Device\n"),
    constant!(
        "dev",
        concat!(
            "Inter-|   Receive                                                |  Transmit\n",
            " face |bytes    packets errs drop fifo frame compressed multicast",
            "|bytes    packets errs drop fifo colls carrier compressed\n"
        )
    ),
    constant!("if_inet6", ""),
    constant!(
        "route",
        concat!(
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT",
            "                                                       \n"
        )
    ),
    constant!(
        "tcp",
        concat!(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
            "                                                     \n"
        )
    ),
    constant!(
        "udp",
        "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops             \n"
    ),
    constant!("unix", "Num       RefCount Protocol Flags    Type St Inode Path\n"),
];
