//! Progress bars on a terminal; nothing elsewhere.

use std::time::Duration;

use image_tools::{Progress, Step};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows each step as a bar.
pub(crate) struct Bars {
    pub(crate) quiet: bool,
}

impl Progress for Bars {
    fn step(&self, what: &str, total: Option<u64>) -> Box<dyn Step> {
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        };
        if self.quiet {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        // Large totals are bytes, small ones things.
        let template = match total {
            Some(total) if total > 1 << 20 => "{msg:24} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            Some(_) => "{msg:24} {wide_bar} {pos}/{len}",
            None => "{msg:24} {spinner} {human_pos}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Box::new(Bar(bar))
    }
}

struct Bar(ProgressBar);

impl Step for Bar {
    fn advance(&self, units: u64) {
        self.0.inc(units);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
